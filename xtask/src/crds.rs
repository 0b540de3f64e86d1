//! `cargo xtask crds`: the kinds' definitions for the chart and for kubectl, and the page about them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use mooring_crds::definitions::definitions;

use crate::reference;

/// Where the chart has them.
const CHART: &str = "charts/mooring/templates/crds";

/// Where they are for `kubectl apply`.
const PLAIN: &str = "crds/yaml";

const HEADING: &str = "# Made by `cargo xtask crds` from the sources of the crate crds; `make check` compares.\n";

/// A file that is made: where, below the repository, and what it says.
type Made = (String, String);

/// Writes all files.
pub fn write(repository: &Path) -> Result<()> {
    for (name, text) in all()? {
        let path = repository.join(&name);
        std::fs::create_dir_all(path.parent().unwrap_or(repository)).with_context(|| format!("no folder for {name}"))?;
        std::fs::write(path, text).with_context(|| format!("{name} can't be written"))?;
    }
    Ok(())
}

/// Refuses files that are not what the sources make.
pub fn check(repository: &Path) -> Result<()> {
    for (name, text) in all()? {
        let found = std::fs::read_to_string(repository.join(&name)).unwrap_or_default();
        ensure!(found == text, "{name} is not what the sources make: run `cargo xtask crds` and commit it");
    }
    Ok(())
}

fn all() -> Result<Vec<Made>> {
    let mut made = vec![("docs/kinds.md".to_owned(), reference::page(&definitions()))];
    for definition in definitions() {
        let name = definition.metadata.name.clone().unwrap_or_default();
        made.push((format!("{PLAIN}/{name}.yaml"), format!("{HEADING}{}", serde_norway::to_string(&definition)?)));
        made.push((format!("{CHART}/{name}.yaml"), for_chart(definition)?));
    }
    Ok(made)
}

/// In a template, so that an upgrade of the chart upgrades it; kept when the chart is uninstalled, because all Devices would go with it.
fn for_chart(mut definition: CustomResourceDefinition) -> Result<String> {
    let keep = ("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    definition.metadata.annotations.get_or_insert_default().extend([keep]);
    let text = serde_norway::to_string(&definition)?.replace("{{", "{{ \"{{\" }}");
    Ok(format!("{{{{- if .Values.crds.install }}}}\n{HEADING}{text}{{{{- end }}}}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helm_would_take_for_its_own_is_escaped() {
        let [mut definition, _] = definitions();
        definition.spec.group = "{{ .Values.group }}".to_owned();
        let text = for_chart(definition).unwrap();
        assert!(text.contains(r#"{{ "{{" }} .Values.group }}"#), "{text}");
        assert!(text.starts_with("{{- if .Values.crds.install }}\n") && text.ends_with("{{- end }}\n"));
        assert!(text.contains("helm.sh/resource-policy: keep"));
    }

    #[test]
    fn what_is_written_is_read_back_as_it_was() {
        for definition in definitions() {
            let text = serde_norway::to_string(&definition).unwrap();
            assert_eq!(serde_norway::from_str::<CustomResourceDefinition>(&text).unwrap(), definition);
        }
    }
}
