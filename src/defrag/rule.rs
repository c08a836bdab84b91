//! stub
/// stub
pub struct Judged {
    pub findings: Vec<super::finding::Finding>,
    pub floor: Option<u64>,
    pub fires_above: Option<u64>,
}
/// stub
pub fn judge(_: &str, _: u64, _: &super::policy::Limits, _: &str) -> Judged {
    Judged { findings: vec![], floor: Some(1), fires_above: None }
}
/// stub
pub fn compile(_: Option<f64>, _: Option<u64>) -> String {
    "dbSize > 1".into()
}
