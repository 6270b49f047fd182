//! Sessions under load, beside hand-written code and other libraries. See README.md.

mod args;
mod chart;
mod cpu;
mod figures;
mod fill;
mod growth;
mod load;
mod page;
mod peers;
mod places;
mod random;
mod results;
mod sites;
mod visitors;

use std::env;
use std::process::ExitCode;

use args::{Args, USAGE, What};
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
    if args.what != What::Page {
        sites::build(&args.servers);
    }
    match args.what {
        What::Peers => {
            let figures = peers::run(&args.peers());
            results.peers = Some(Run::new(&given, args.seconds, args.rounds, figures));
        }
        What::Growth => {
            let figures = growth::run(&args.growth());
            results.growth = Some(Run::new(&given, args.seconds, args.rounds, figures));
        }
        What::Page => {}
    }
    if args.writes {
        results.write();
        page::write(&results);
    }
    ExitCode::SUCCESS
}
