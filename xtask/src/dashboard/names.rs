//! The names by which the module and its script know each other. wasm-bindgen's say what they are, each with a hash that no compression makes any
//! shorter, once in the module and once in the script; numbers do as well.

use std::collections::HashMap;

use walrus::Module;

/// New names by those that wasm-bindgen has given.
pub struct Names(HashMap<String, String>);

impl Names {
    /// Gives all that the module asks of its script, and offers it, a number. What the script calls by a word of its own keeps it: `memory`.
    pub fn shorten(module: &mut Module) -> Self {
        let mut names = Self(HashMap::new());
        let asked = module.imports.iter_mut().map(|import| &mut import.name);
        for name in asked.chain(module.exports.iter_mut().map(|export| &mut export.name)) {
            names.give(name);
        }
        names
    }

    fn give(&mut self, name: &mut String) {
        if name.starts_with("__") || name.starts_with("wasm_bindgen__") {
            let number = self.0.len();
            self.0.entry(name.clone()).or_insert_with(|| format!("n{number}")).clone_into(name);
        }
    }

    /// The script with the new names.
    pub fn told(&self, script: &str) -> String {
        let is_of_word = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '$');
        let mut told = String::with_capacity(script.len());
        let mut rest = script;
        while !rest.is_empty() {
            let (word, behind) = rest.split_at(rest.find(|letter| !is_of_word(letter)).unwrap_or(rest.len()));
            told.push_str(self.0.get(word).map_or(word, String::as_str));
            let (between, next) = behind.split_at(behind.find(is_of_word).unwrap_or(behind.len()));
            told.push_str(between);
            rest = next;
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_have_the_same_names() {
        let mut module = Module::default();
        let kind = module.types.add(&[], &[]);
        let (first, _) = module.add_import_func("./page.js", "__wbg_new_0123456789abcdef", kind);
        module.add_import_func("./page.js", "__wbg_new_0123456789abcdef_1", kind);
        module.exports.add("wasm_bindgen__invoke__h1", first);
        module.exports.add("memory", first);
        let names = Names::shorten(&mut module);
        let of = |module: &Module| {
            let asked = module.imports.iter().map(|import| import.name.clone());
            asked.chain(module.exports.iter().map(|export| export.name.clone())).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(&module), "n0 n1 n2 memory");
        let script = "const i = { __wbg_new_0123456789abcdef_1: () => wasm.wasm_bindgen__invoke__h1(wasm.memory, 'ü'),\n__wbg_new_0123456789abcdef(){} };";
        assert_eq!(names.told(script), "const i = { n1: () => wasm.n2(wasm.memory, 'ü'),\nn0(){} };");
    }
}
