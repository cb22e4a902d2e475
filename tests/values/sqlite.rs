pub const READS: &str =
    "CASE typeof({}) WHEN 'null' THEN NULL WHEN 'blob' THEN 'blob ' || hex({}) ELSE typeof({}) || ' ' || {} END";
pub fn tables() -> Vec<super::case::Table> {
    vec![]
}
