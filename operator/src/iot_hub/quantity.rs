//! Kubernetes' quantities, as numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Suffixes and what they stand for; those of two letters come first.
const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// How many bytes a quantity is; `None` when it is none, or negative.
#[must_use]
pub fn bytes(quantity: &Quantity) -> Option<u64> {
    let text = quantity.0.trim();
    let (number, factor) =
        SUFFIXES.iter().find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|number| (number, *factor))).unwrap_or((text, 1.0));
    let value = number.parse::<f64>().ok()? * factor;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is looked at before")]
    (0.0..=9e18).contains(&value).then_some(value.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        let read = |text: &str| bytes(&Quantity(text.to_owned()));
        for (text, value) in
            [("10Gi", 10 << 30), ("1.5Ki", 1536), ("500M", 500_000_000), ("2e3", 2000), ("1E", 10u64.pow(18)), ("1500m", 2)]
        {
            assert_eq!(read(text), Some(value), "{text}");
        }
        assert_eq!((read("-1"), read("much")), (None, None));
    }
}
