//! `cargo xtask alerts`: a hub's alerts as a file, for those who have a Prometheus without its operator.

use std::path::Path;

use anyhow::Result;
use mooring_crds::iot_hub::Monitoring;
use mooring_operator::iot_hub::build::alerts::rules_file;

/// The file, below the repository.
pub const FILE: &str = "examples/prometheus/rules.yaml";

/// The hub that the file is about.
const NAME: &str = "plant";

/// Its namespace.
const NAMESPACE: &str = "plants";

const HEADING: &str = "\
# The alerts of the hub `plant` in the namespace `plants`, with the thresholds that an IotHub has by default. The operator makes the same
# ones as a PrometheusRule where the Prometheus Operator is. For a hub of another name, replace both; they are the labels `iothub` and
# `namespace` of the hub's series (see scrape.yaml beside this file).
# Made by `cargo xtask alerts`; a test keeps it as it is made.
";

/// What the file says.
pub fn text() -> Result<String> {
    Ok(format!("{HEADING}{}", serde_norway::to_string(&rules_file(NAME, NAMESPACE, &Monitoring::default()))?))
}

/// Writes the file.
pub fn write(repository: &Path) -> Result<()> {
    let path = repository.join(FILE);
    std::fs::create_dir_all(path.parent().unwrap_or(repository))?;
    Ok(std::fs::write(path, text()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_as_it_is_made() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FILE);
        let found = std::fs::read_to_string(&path).expect("it is in the repository");
        assert!(found == text().unwrap(), "{FILE} is not what the operator makes: cargo xtask alerts");
    }
}
