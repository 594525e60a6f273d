//! The program `unanimity-install`: installs what another user downloaded, without any network
//! code.

mod program;
mod signals;

fn main() -> std::process::ExitCode {
    program::main()
}
