//! Turns the entries of the registry into the table of the library and the declarations of the suites.

use std::{
    env, fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use tch_transformers_registry::{Category, Roster, Scan, emit};

fn main() -> io::Result<()> {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(variable("OUT_DIR"));
    println!("cargo::rerun-if-changed=build.rs");
    for category in Category::ALL {
        println!("cargo::rerun-if-changed=registry/{category}");
    }
    let scan = Scan::new(&package.join("registry"), Some(&package.join("cases")));
    for file in &scan.case_files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    match scan.into_roster() {
        Ok(roster) => write(&roster, &out)?,
        Err(mistakes) => {
            for mistake in &mistakes {
                println!("cargo::error={mistake}");
            }
            println!("cargo::error={} in the registry", plural(mistakes.len(), "mistake"));
            return Ok(());
        }
    }
    println!("cargo::rustc-check-cfg=cfg(cuda_device)");
    if has_cuda_device() {
        println!("cargo::rustc-cfg=cuda_device");
    }
    // A dependency cannot pass link arguments on, so they are repeated from what the shim found.
    if let Ok(lib) = env::var("DEP_TCH_TRANSFORMERS_NATIVE_LIBTORCH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
        // CUDA is loaded through libtorch.so, which no symbol asks for.
        println!("cargo::rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo::rustc-link-arg=-ltorch");
    }
    Ok(())
}

fn write(roster: &Roster, out: &Path) -> io::Result<()> {
    write_changed(&out.join("roster.rs"), &emit::table(roster))?;
    let suites = out.join("suites");
    fs::create_dir_all(&suites)?;
    let mut all = String::from("&[\n");
    for category in Category::ALL {
        let file = format!("{}.rs", category.ident());
        write_changed(&suites.join(&file), &emit::declarations(roster, category))?;
        all += &format!("    include_str!(concat!(env!(\"OUT_DIR\"), \"/suites/{file}\")),\n");
    }
    write_changed(&out.join("declarations.rs"), &(all + "]\n"))
}

/// Leaves a file alone that already reads like this, so that nothing is compiled again for it.
fn write_changed(path: &Path, text: &str) -> io::Result<()> {
    match fs::read_to_string(path) {
        Ok(current) if current == text => Ok(()),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => fs::write(path, text),
    }
}

/// Whether the machine has a GPU and libtorch the code for it.
fn has_cuda_device() -> bool {
    println!("cargo::rerun-if-env-changed=CUDA_VISIBLE_DEVICES");
    let driver = fs::read_dir("/proc/driver/nvidia/gpus").is_ok_and(|mut gpus| gpus.next().is_some());
    let library = env::var_os("DEP_TCH_TRANSFORMERS_NATIVE_LIBTORCH");
    let library = library.map(|folder| PathBuf::from(folder).join("libtorch_cuda.so"));
    (driver || Path::new("/dev/nvidia0").exists()) && library.is_some_and(|library| library.is_file())
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
