//! The files of the page: which name the others, and so have to be written last; each but the first named by what it says.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};

/// Brotli's best, which takes 2 s and is done once.
const QUALITY: u32 = 11;

/// As large as brotli's standard allows: all of the module.
const WINDOW_BITS: u32 = 24;

/// The page, complete.
pub struct Page {
    index: String,
    assets: Vec<Asset>,
}

struct Asset {
    name: String,
    text: Vec<u8>,
}

/// How large a file is, in bytes.
pub struct Size {
    pub name: String,
    pub raw: usize,
    pub packed: usize,
}

impl Page {
    /// From the sources of the page, and what wasm-bindgen has made.
    pub fn gather(sources: &Path, bound: &Path) -> Result<Self> {
        let mut page = Self { index: String::new(), assets: Vec::new() };
        let style = String::from_utf8([read(&sources.join("style/tokens.css"))?, read(&sources.join("style/components.css"))?].concat())?;
        let style = page.keep("style", "css", terse_style(&style).into_bytes());
        let mark = page.keep("mark", "svg", read(&sources.join("mark.svg"))?);
        let theme = page.keep("theme", "js", read(&sources.join("theme.js"))?);
        let module = page.keep("dashboard", "wasm", read(&bound.join("dashboard_bg.wasm"))?);
        let glue = String::from_utf8(read(&bound.join("dashboard.js"))?)?;
        let glue = page.keep("dashboard", "js", terse_script(&glue).into_bytes());
        let boot = String::from_utf8(read(&sources.join("boot.js"))?)?;
        let boot = page.keep("boot", "js", filled(&boot, &[("module", &module), ("glue", &glue)])?.into_bytes());
        let index = String::from_utf8(read(&sources.join("index.html"))?)?;
        let names = [("style", &style), ("mark", &mark), ("theme", &theme), ("boot", &boot), ("module", &module), ("glue", &glue)];
        page.index = filled(&index, &names)?;
        Ok(page)
    }

    /// Says the name under which it is served.
    fn keep(&mut self, stem: &str, kind: &str, text: Vec<u8>) -> String {
        let hash = Sha256::digest(&text).iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
        let name = format!("{stem}-{hash}.{kind}");
        self.assets.push(Asset { name: name.clone(), text });
        name
    }

    /// Writes what is not there yet, and removes what is no part of it. What is there under a name of its own is what would be written, and a
    /// document that says the same keeps its time: a hub that has taken it in need not be built anew.
    pub fn write(&self, folder: &Path) -> Result<Vec<Size>> {
        let assets = folder.join("assets");
        fs::create_dir_all(&assets)?;
        for entry in fs::read_dir(&assets)? {
            let path = entry?.path();
            if !self.assets.iter().any(|asset| path == asset.path(&assets)) {
                fs::remove_file(path)?;
            }
        }
        let mut sizes = Vec::new();
        for asset in &self.assets {
            let path = asset.path(&assets);
            if !path.exists() {
                put(&path, &packed(&asset.text)?)?;
            }
            let packed = usize::try_from(path.metadata()?.len())?;
            sizes.push(Size { name: asset.name.clone(), raw: asset.text.len(), packed });
        }
        // Last: whoever sees it finds everything that it names.
        let index = packed(self.index.as_bytes())?;
        let path = folder.join("index.html.br");
        if fs::read(&path).ok().as_ref() != Some(&index) {
            put(&path, &index)?;
        }
        sizes.insert(0, Size { name: "index.html".to_owned(), raw: self.index.len(), packed: index.len() });
        Ok(sizes)
    }
}

impl Asset {
    fn path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.br", self.name))
    }
}

/// A file has its name once it is whole.
fn put(path: &Path, text: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, text)?;
    Ok(fs::rename(part, path)?)
}

/// A style sheet without what only people read: comments, and the space around what needs none. Before a colon it has a meaning, and so it has around
/// the signs of a sum.
fn terse_style(text: &str) -> String {
    let mut terse = String::with_capacity(text.len());
    let mut parts = text.split("/*");
    terse.extend(parts.next());
    for part in parts {
        terse.extend(part.split_once("*/").map(|(_, code)| code));
    }
    let mut packed = String::with_capacity(terse.len());
    for word in terse.split_whitespace() {
        if !packed.is_empty() && !packed.ends_with(['{', '}', ';', ',', ':']) && !word.starts_with(['{', '}']) {
            packed.push(' ');
        }
        packed.push_str(word);
    }
    packed
}

/// A script of wasm-bindgen's without the comments and the indentation that stand alone in their lines.
fn terse_script(text: &str) -> String {
    let mut in_comment = false;
    let mut terse = String::with_capacity(text.len());
    for line in text.lines().map(str::trim) {
        in_comment |= line.starts_with("/*");
        if !in_comment && !line.is_empty() && !line.starts_with("//") {
            terse.push_str(line);
            terse.push('\n');
        }
        in_comment &= !line.ends_with("*/");
    }
    terse
}

fn packed(text: &[u8]) -> Result<Vec<u8>> {
    let mut packed = Vec::new();
    let mut writer = brotli::CompressorWriter::new(&mut packed, 4096, QUALITY, WINDOW_BITS);
    writer.write_all(text)?;
    drop(writer);
    Ok(packed)
}

/// The text with a name in each `{{place}}`.
fn filled(text: &str, names: &[(&str, &String)]) -> Result<String> {
    let whole = names.iter().fold(text.to_owned(), |text, (place, name)| text.replace(&format!("{{{{{place}}}}}"), name));
    ensure!(!whole.contains("{{"), "a place without a name: {whole}");
    Ok(whole)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} can't be read", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_people_read_is_left_out() {
        let style = "/* all */\n@media (min-width: 68rem) {\n  .a > b :is(.c, .d) { width: calc(1px + 2px); /* so */ grid: \"a b\" 1fr / auto; }\n}\n";
        assert_eq!(terse_style(style), "@media (min-width:68rem){.a > b :is(.c,.d){width:calc(1px + 2px);grid:\"a b\" 1fr / auto;}}");
        let script = "/**\n * @param {number} a\n */\nfunction f(a) {\n    // so\n    return `//${a}`; // this\n}\n/* one */\n\nf(1);\n";
        assert_eq!(terse_script(script), "function f(a) {\nreturn `//${a}`; // this\n}\nf(1);\n");
    }

    #[test]
    fn a_file_is_named_by_what_it_says() {
        let mut page = Page { index: String::new(), assets: Vec::new() };
        let first = page.keep("style", "css", b"a".to_vec());
        assert_eq!(first, "style-ca978112ca1b.css");
        assert_ne!(page.keep("style", "css", b"b".to_vec()), first);
    }

    #[test]
    fn only_what_has_changed_is_written_again() {
        let folder = std::env::temp_dir().join(format!("mooring-layout-{}", std::process::id()));
        let page = |style: &str, index: &str| {
            let mut page = Page { index: index.to_owned(), assets: Vec::new() };
            page.keep("style", "css", style.as_bytes().to_vec());
            page.keep("boot", "js", b"1".to_vec());
            page.write(&folder).unwrap();
            let asset = |asset: &Asset| fs::metadata(asset.path(&folder.join("assets"))).unwrap().modified().unwrap();
            let index = fs::metadata(folder.join("index.html.br")).unwrap().modified().unwrap();
            (index, page.assets.iter().map(asset).collect::<Vec<_>>())
        };
        let first = page("a", "one");
        assert_eq!(page("a", "one"), first);
        let second = page("b", "two");
        assert_eq!(fs::read_dir(folder.join("assets")).unwrap().count(), 2, "the old style is gone");
        assert_ne!(second.0, first.0);
        assert_eq!(second.1[1], first.1[1]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn every_place_is_filled() {
        assert_eq!(filled("<a href={{style}}>", &[("style", &"s.css".to_owned())]).unwrap(), "<a href=s.css>");
        assert!(filled("{{other}}", &[("style", &"s.css".to_owned())]).is_err());
    }

    #[test]
    fn what_is_packed_is_what_was_said() {
        let text = b"mooring ".repeat(1000);
        let packed = packed(&text).unwrap();
        assert!(packed.len() < 100);
        let mut back = Vec::new();
        brotli::BrotliDecompress(&mut packed.as_slice(), &mut back).unwrap();
        assert_eq!(back, text);
    }
}
