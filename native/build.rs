//! Tells the linker where libtorch is at run time.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // torch-sys says which folder it took, whether from LIBTORCH, LIBTORCH_LIB or LIBTORCH_USE_PYTORCH.
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys names libtorch's folder");
    // A link argument is for this package's own tests only; dependents repeat it from DEP_TCH_TRANSFORMERS_NATIVE_LIBTORCH.
    println!("cargo::metadata=LIBTORCH={lib}");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
}
