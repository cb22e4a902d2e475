pub fn tables() -> Vec<super::case::Table> {
    vec![]
}
