//! stub
/// stub
pub fn parse(s: &str) -> Result<f64, String> {
    s.parse::<f64>().map_err(|e| e.to_string())
}
