//! Hooks in an asynchronous program.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use unanimity_client::HookThreads;
use unanimity_install::HookRunner as _;
use unanimity_install::process::Invocation;

#[tokio::test]
async fn dropped_future_kills_its_command_while_other_tasks_run() {
    let scratch = tempfile::tempdir().unwrap();
    let script =
        format!("cd {}; echo $$ > new; mv new pid; exec sleep 600", scratch.path().display());
    let command = ["/bin/sh", "-c", &script].map(str::to_owned).into();
    let (variables, input, limit) = (Vec::new(), String::new(), Duration::from_secs(600));
    let invocation = Invocation { command, variables, input, limit };
    let running = tokio::spawn(async move { HookThreads.run(invocation).await });
    let pid = loop {
        tokio::task::yield_now().await;
        if let Ok(pid) = fs::read_to_string(scratch.path().join("pid")) {
            break pid;
        }
    };
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    // The command was killed. Its thread reaps it soon.
    let process = Path::new("/proc").join(pid.trim());
    let began = std::time::Instant::now();
    while process.exists() {
        assert!(began.elapsed() < Duration::from_secs(60));
        thread::yield_now();
    }
}
