//! Compiles the shim, and tells the linker where libtorch is at run time.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/linear.cpp");
    println!("cargo::rerun-if-env-changed=LIBTORCH_INCLUDE");
    println!("cargo::rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    // torch-sys says which folder it took, whether from LIBTORCH, LIBTORCH_LIB or LIBTORCH_USE_PYTORCH.
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys names libtorch's folder");
    // Headers lie beside the libraries unless the user says where, as torch-sys has it.
    let beside = || Path::new(&lib).parent().map(Path::to_path_buf).unwrap_or_default();
    let home = std::env::var_os("LIBTORCH_INCLUDE").map_or_else(beside, PathBuf::from);
    let abi = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .pic(true)
        .warnings(false)
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .include(home.join("include"))
        .file("src/linear.cpp")
        .compile("tch_transformers_native");
    // A link argument is for this package's own tests only; dependents repeat it from DEP_TCH_TRANSFORMERS_NATIVE_LIBTORCH.
    println!("cargo::metadata=LIBTORCH={lib}");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
}
