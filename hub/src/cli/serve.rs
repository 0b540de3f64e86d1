//! `mooring-hub serve`: a hub from a file, flags and the environment.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches};

use crate::config::{Override, Setting, Source};
use crate::serve::{self, logs};

/// The exit status for a configuration that does not hold, as for arguments that do not.
const CONFIGURATION_STATUS: u8 = 2;

/// Run a hub from a configuration file
///
/// Every setting of the file is a flag and an environment variable, too: a flag wins over the environment, which wins over the file.
#[derive(Args)]
pub struct Arguments {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE", env = "MOORING_CONFIG")]
    config: Option<PathBuf>,

    /// Say what the hub would do, and do nothing
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    settings: SettingFlags,
}

/// A flag for each setting.
struct SettingFlags(Vec<Override>);

impl Args for SettingFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(Setting::all().iter().map(flag))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

fn flag(setting: &'static Setting) -> clap::Arg {
    let default = if setting.default.is_empty() { String::new() } else { format!(" [default: {}]", setting.default) };
    clap::Arg::new(setting.name.as_str())
        .long(setting.flag.as_str())
        .env(setting.environment_variable.as_str())
        .hide_env_values(true)
        .value_name("VALUE")
        .allow_hyphen_values(true)
        .help_heading("Settings")
        .help(format!("{} {}{default}", setting.about, capitalized(&setting.form)))
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect::<String>() + ".").unwrap_or_default()
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |setting: &Setting| {
            let origin = match matches.value_source(&setting.name)? {
                ValueSource::CommandLine => format!("--{}", setting.flag),
                _ => setting.environment_variable.clone(),
            };
            let text = matches.get_one::<String>(&setting.name)?.clone();
            Some(Override { name: setting.name.clone(), text, origin })
        };
        Ok(Self(Setting::all().iter().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Runs it until it is told to stop, or says what it would do.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let source = Source { path: arguments.config, overrides: arguments.settings.0 };
    let config = match source.read() {
        Ok(config) => config,
        Err(error) => {
            super::complain(&error.into());
            return Ok(CONFIGURATION_STATUS.into());
        }
    };
    if arguments.check {
        return match serve::check(&config) {
            Ok(text) => {
                std::io::stdout().write_all(text.as_bytes())?;
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => {
                super::complain(&error.into());
                Ok(CONFIGURATION_STATUS.into())
            }
        };
    }
    logs::start(config.log.format, &config.log.filter)?;
    super::runtime()?.block_on(serve::run(&config, &source))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn each_setting_is_a_flag_that_says_where_it_came_from() {
        let program = Program::try_parse_from(["serve", "--limits-handshake-time", "5s", "--config", "file", "--data=/d"]).ok().unwrap();
        let given = |name: &str, text: &str, origin: &str| Override { name: name.into(), text: text.into(), origin: origin.into() };
        let wanted = [given("data", "/d", "--data"), given("limits.handshake_time", "5s", "--limits-handshake-time")];
        assert_eq!(program.arguments.settings.0, wanted);
        assert!(Program::try_parse_from(["serve", "--limits-handshake-tim", "5s"]).is_err());
    }
}
