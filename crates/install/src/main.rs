//! The program that installs what another user downloaded: without a network, and without code for one.

mod program;
mod signals;

fn main() -> std::process::ExitCode {
    program::main()
}
