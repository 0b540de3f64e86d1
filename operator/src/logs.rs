//! Where logs go: to standard error, as text for people or as JSON for collectors.

use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// How they look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Logs can't be written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is none.
    #[error("the log filter {filter:?} is not understood: {problem}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Somebody else was faster.
    #[error("logs are written already")]
    Taken(#[from] TryInitError),
}

/// Starts to write logs: from here on, for the whole process.
pub fn start(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let directives =
        EnvFilter::try_new(filter).map_err(|problem| LogError::Filter { filter: filter.to_owned(), problem: problem.to_string() })?;
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(directives).with_writer(io::stderr);
    if json {
        builder.json().flatten_event(true).finish().try_init()?;
    } else {
        builder.with_ansi(io::stderr().is_terminal()).with_target(false).finish().try_init()?;
    }
    Ok(())
}
