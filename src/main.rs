//! The program `unanimity`. All of its code is in the library.

fn main() -> std::process::ExitCode {
    unanimity::cli::main()
}
