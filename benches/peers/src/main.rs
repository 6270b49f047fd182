//! Sessions under load, beside hand-written code and other libraries. See README.md.

mod cpu;
mod figures;
mod load;
mod peers;
mod places;
mod random;
mod sites;
mod visitors;

use std::env;
use std::process::ExitCode;

use peers::Wanted;
use places::Store;
use sites::Server;

const USAGE: &str = "\
usage: cargo xtask bench --peers [--only sqlite,redis] [--servers bare,hand-written,session-rocket]
                                 [--rounds 3] [--seconds 5] [--connections 32]";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match read(&args) {
        Ok(wanted) => {
            sites::build(&wanted.servers);
            peers::run(&wanted);
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn read(args: &[String]) -> Result<Wanted, String> {
    let mut args = args.iter();
    let mut wanted =
        Wanted { stores: Store::ALL.to_vec(), servers: Server::ALL.to_vec(), rounds: 3, seconds: 5.0, connections: 32 };
    if args.next().is_none_or(|what| what != "--peers") {
        return Err("what to measure?".to_owned());
    }
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("`{flag}` wants a value"))?;
        let bad = || format!("`{value}` is no value of `{flag}`");
        match flag.as_str() {
            "--only" => wanted.stores = of_names(value, &Store::ALL, Store::name)?,
            "--servers" => wanted.servers = of_names(value, &Server::ALL, Server::name)?,
            "--rounds" => wanted.rounds = value.parse().map_err(|_| bad())?,
            "--seconds" => wanted.seconds = value.parse().map_err(|_| bad())?,
            "--connections" => wanted.connections = value.parse().map_err(|_| bad())?,
            _ => return Err(format!("there is no `{flag}`")),
        }
    }
    Ok(wanted)
}

/// Those of `all` that a list names, by the beginnings of their names.
fn of_names<T: Copy>(list: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<Vec<T>, String> {
    let names: Vec<&str> = list.split(',').collect();
    if let Some(unknown) = names.iter().find(|given| !all.iter().any(|one| name(*one).starts_with(*given))) {
        return Err(format!("there is no `{unknown}`"));
    }
    Ok(all.iter().copied().filter(|one| names.iter().any(|given| name(*one).starts_with(given))).collect())
}
