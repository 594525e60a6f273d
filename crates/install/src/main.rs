//! The program `unanimity-install`: installs a downloaded release from a spool, without any network
//! code.

mod program;
mod signals;

fn main() -> std::process::ExitCode {
    program::main()
}
