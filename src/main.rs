//! The `transvase` command: parse, run, print, exit code.

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};
use transvase::cli::{self, Cli, Command, ExitCode, Typed, log, output, phase, plan, rejects, run};

fn main() -> std::process::ExitCode {
    let matches = Cli::command().get_matches();
    // A verb may have verbs of its own.
    let mut verb = &matches;
    while let Some((_, inner)) = verb.subcommand() {
        verb = inner;
    }
    let is_typed =
        |name| verb.try_contains_id(name).is_ok() && verb.value_source(name) == Some(ValueSource::CommandLine);
    let typed = Typed { to: is_typed("to") || is_typed("on"), state: is_typed("state") };
    let code = match Cli::from_arg_matches(&matches) {
        Ok(cli) => start(&cli, typed),
        Err(error) => error.exit(),
    };
    std::process::ExitCode::from(code as u8)
}

fn start(cli: &Cli, typed: Typed) -> ExitCode {
    let ended = log::start(&cli.log, cli.log_format).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| transvase::error::Error::internal("the runtime cannot be started").because(error))?;
        runtime.block_on(async {
            match &cli.command {
                Command::Backfill(args) => run::backfill(args, typed).await,
                Command::Follow(args) => Box::pin(cli::follow::follow(args, typed)).await,
                Command::Verify(args) => cli::verify::verify(args, typed).await,
                Command::Schema(args) => run::schema(args, typed).await,
                Command::Plan(args) => plan::run(args, typed).await,
                Command::Rejects(args) => rejects::run(args, typed).await,
                Command::Phase(args) => phase::run(args, typed).await,
            }
        })
    });
    ended.unwrap_or_else(|error| {
        output::complain(&error);
        output::code_of(&error)
    })
}
