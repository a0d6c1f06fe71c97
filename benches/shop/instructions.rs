//! Instructions, counted by valgrind: the same on a busy machine as on a quiet one. A bench runs itself again under callgrind,
//! once for each case, and counts only inside [`counted`].

use std::collections::HashMap;
use std::process::Command;

const TIMES: usize = 1_000;

/// Whether the command line asks for instructions instead of time.
pub(crate) fn wanted() -> bool {
    std::env::args().any(|argument| argument == "--instructions")
}

/// In the process under valgrind: the case to run, and how often.
pub(crate) fn times() -> Option<(String, usize)> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--counted").skip(1);
    Some((arguments.next()?, TIMES))
}

/// Prints the instructions of each case, and gives them back by name.
pub(crate) fn print(cases: impl Iterator<Item = &'static str>) -> HashMap<&'static str, u64> {
    println!("{:24} {:>12}", "", "instructions");
    let counted = |case| (case, count(case) / TIMES as u64);
    cases.map(counted).inspect(|(case, count)| println!("{case:24} {count:12}")).collect()
}

fn count(case: &str) -> u64 {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"]);
    command.arg("--toggle-collect=*instructions::counted*").arg(std::env::current_exe().unwrap());
    command.args(["--counted", case]);
    let output = command.output().expect("valgrind counts the instructions: apt-get install valgrind");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = text.lines().find_map(|line| line.split("Collected : ").nth(1));
    collected.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("valgrind: {text}"))
}

/// Runs what is counted.
#[inline(never)]
pub(crate) fn counted(times: usize, run: impl FnMut(usize)) {
    (0..times).for_each(run);
}
