//! Where logs go: to standard error, as text for people or as JSON for collectors.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

use crate::config::value::LogFormat;

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
    let directives = parse(filter)?;
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(directives).with_writer(io::stderr);
    if json {
        use tracing_subscriber::util::SubscriberInitExt as _;
        builder.json().flatten_event(true).finish().try_init()?;
    } else {
        use tracing_subscriber::util::SubscriberInitExt as _;
        builder.with_ansi(io::stderr().is_terminal()).with_target(false).finish().try_init()?;
    }
    Ok(())
}

/// Whether a filter can be used, without using it.
pub fn check(filter: &str) -> Result<(), LogError> {
    parse(filter).map(|_| ())
}

/// What migrations say of themselves is for those who write them, unless the filter asks for it.
const QUIET: &str = "sea_orm_migration=warn";

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(format!("{QUIET},{filter}"))
        .map_err(|problem| LogError::Filter { filter: filter.to_owned(), problem: problem.to_string() })
}
