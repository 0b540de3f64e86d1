//! The page's files, which are part of the hub's binary (`hub/build.rs`).

include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// The page.
#[derive(Clone, Copy, Debug)]
pub struct Bundle {
    /// The document, compressed with brotli.
    pub index: &'static [u8],
    /// What it names.
    pub assets: &'static [Asset],
}

/// A file.
#[derive(Debug)]
pub struct Asset {
    /// With a hash of what it says.
    pub name: &'static str,
    /// Compressed with brotli.
    pub packed: &'static [u8],
}

impl Bundle {
    /// The file of this name, and its media type.
    #[must_use]
    pub fn find(self, name: &str) -> Option<(&'static Asset, &'static str)> {
        let asset = self.assets.iter().find(|asset| asset.name == name)?;
        let kind = match name.rsplit_once('.')?.1 {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            // With any other type a browser refuses to compile it while it comes in.
            "wasm" => "application/wasm",
            _ => return None,
        };
        Some((asset, kind))
    }
}
