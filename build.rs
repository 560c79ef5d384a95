fn main() {
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(format!("{out}/roster.rs"), "&[]").expect("OUT_DIR is writable");
}
