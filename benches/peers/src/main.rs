//! Measures sessions under load, compared with hand-written code and other libraries. See README.md.

mod args;
mod chart;
mod cpu;
mod fill;
mod growth;
mod load;
mod page;
mod peers;
mod random;
mod results;
mod sites;
mod statistics;
mod stores;
mod visitors;

use std::env;
use std::process::ExitCode;

use args::{Args, Task, USAGE};
use results::{Results, Run};

fn main() -> ExitCode {
    let given: Vec<String> = env::args().skip(1).collect();
    let args = match Args::read(&given) {
        Ok(args) => args,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let mut results = Results::read();
    if args.task != Task::Page {
        sites::build(&args.servers, args.allocator);
    }
    match args.task {
        Task::Peers => {
            let figures = peers::run(&args.peers());
            results.peers.insert(args.allocator, Run::new(&given, args.seconds, args.rounds, figures));
        }
        Task::Growth => {
            let figures = growth::run(&args.growth());
            results.growth.insert(args.allocator, Run::new(&given, args.seconds, args.rounds, figures));
        }
        Task::Page => {}
    }
    if args.writes_page {
        results.write();
        page::write(&results);
    }
    ExitCode::SUCCESS
}
