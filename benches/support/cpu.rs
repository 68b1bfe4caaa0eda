//! Cores and machine.

use std::sync::Mutex;
use std::{fs, io, mem, ptr};

/// The cores of the first two roles, if they were chosen.
static FIRST: Mutex<Option<[usize; 2]>> = Mutex::new(None);

/// Returns the cores that this process may run on.
pub fn allowed() -> Vec<usize> {
    // SAFETY: `cpu_set_t` is plain bits, for which zero is a value, and has the given length.
    let set = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set);
        set
    };
    // SAFETY: the index stays below the number of bits.
    (0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect()
}

/// Pins the calling thread to `core`.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: as in `allowed`.
    let done = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), ptr::from_ref(&set))
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the niceness; without permission nothing changes.
pub fn nice(niceness: i32) {
    // SAFETY: a system call on numbers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) };
}

/// Lets the calling process run before all ordinary ones, for a machine with other users. Without permission nothing
/// changes.
pub fn realtime() {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: the structure is readable for the call.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) };
}

/// Gives these cores to the first two roles.
pub fn put_first(cores: [usize; 2]) {
    *FIRST.lock().expect("no panic under this lock") = Some(cores);
}

/// Returns the core of role number `role`, in turn: on two cores the roles alternate.
pub fn core_of(role: usize) -> usize {
    let mut cores = allowed();
    let first = *FIRST.lock().expect("no panic under this lock");
    for (place, core) in first.into_iter().flatten().enumerate() {
        if let Some(at) = cores.iter().position(|&other| other == core) {
            cores.swap(place, at);
        }
    }
    cores[role % cores.len()]
}

/// Describes the machine in a line: processor, cores, kernel.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |key: &str| {
        let line = info.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == key));
        line.and_then(|line| line.split(':').nth(1)).map_or("?", str::trim).to_owned()
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let virtual_machine = if info.contains("hypervisor") { ", virtual machine" } else { "" };
    format!(
        "{} (family {} model {}), {} cores{virtual_machine}, Linux {}",
        of("model name"),
        of("cpu family"),
        of("model"),
        allowed().len(),
        kernel.trim()
    )
}

/// Returns the load of the last minute, which tells how quiet the machine was.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_ascii_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}
