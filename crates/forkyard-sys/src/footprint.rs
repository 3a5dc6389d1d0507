//! What this process holds of the machine's memory, and could do without.

use std::ops::Range;
use std::{fs, io};

/// Has all threads allocate from one heap. glibc would give each thread its own, of which a
/// process whose threads allocate little and seldom at the same time only has the bottoms of many.
/// To be called before there is another thread.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number in the allocator, which checks it. If it refuses, all stays as it was.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives back what was needed until now and may not be from here on: free memory of the heap, and
/// what the process has mapped of programs and libraries. What it needs of the latter comes back
/// from the system's cache by itself, at the price of a page fault for each 64 KiB.
///
/// # Errors
///
/// If `/proc/self/smaps` cannot be read or understood, or the system refuses.
pub fn give_back() -> io::Result<()> {
    trim_heap();
    untouched_mappings(&fs::read_to_string("/proc/self/smaps")?).try_for_each(unmap_pages)
}

fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator gives back pages that nothing is allocated in.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn unmap_pages(mapping: Range<usize>) -> io::Result<()> {
    let start = std::ptr::without_provenance_mut(mapping.start);
    // SAFETY: the mapping is private and has never been written to, so that every page of it is as
    // in its file, from where the kernel maps it again when it is read.
    match unsafe { libc::madvise(start, mapping.len(), libc::MADV_DONTNEED) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Private mappings of files that cannot be written to and have not been before, as by the dynamic
/// linker or a debugger. `smaps` is described in `proc_pid_smaps(5)`: a head such as
/// `5581f0a00000-5581f10d7000 r-xp 0025b000 08:01 42 /usr/bin/forkyard`, then a field a line, of
/// which `Anonymous` is what differs from the file.
fn untouched_mappings(smaps: &str) -> impl Iterator<Item = Range<usize>> {
    let mut mapping = None;
    smaps.lines().filter_map(move |line| {
        let mut words = line.split_whitespace();
        match (words.next()?, words.next()) {
            ("Anonymous:", Some("0")) => mapping.take(),
            (field, _) if field.ends_with(':') => None,
            (range, permissions) => {
                let is_file = words.nth(3).is_some_and(|path| path.starts_with('/'));
                let is_constant = matches!(permissions, Some("r--p" | "r-xp"));
                mapping = parse_range(range).filter(|_| is_file && is_constant);
                None
            }
        }
    })
}

fn parse_range(text: &str) -> Option<Range<usize>> {
    let (start, end) = text.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
1000-3000 r--p 00000000 08:01 42                         /usr/bin/a program
Size:                  8 kB
Rss:                   8 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
3000-4000 r-xp 00002000 08:01 42                         /usr/bin/a program
Anonymous:             4 kB
VmFlags: rd ex mr mw me
4000-5000 r-xp 00003000 08:01 42                         /usr/bin/a program
Anonymous:             0 kB
AnonHugePages:         0 kB
5000-6000 rw-p 00004000 08:01 42                         /usr/bin/a program
Anonymous:             0 kB
6000-7000 r--s 00000000 08:01 43                         /usr/share/zoneinfo/UTC
Anonymous:             0 kB
7000-8000 r--p 00000000 00:00 0
Anonymous:             0 kB
8000-9000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
";

    #[test]
    fn only_what_is_as_in_its_file_is_given_back() {
        let found: Vec<_> = untouched_mappings(SMAPS).collect();
        assert_eq!(found, [0x1000..0x3000, 0x4000..0x5000]);
    }

    #[test]
    fn this_process_goes_on_and_holds_less() {
        let resident = || -> u64 {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
        };
        let mut file = tempfile::tempfile().unwrap();
        let bytes = vec![1; 8 * 1024 * 1024];
        io::Write::write_all(&mut file, &bytes).unwrap();
        let mapped = read_all_of(&file, bytes.len());
        let before = resident();
        give_back().unwrap();
        assert!(resident() + 6 * 1024 < before);
        assert_eq!(mapped, bytes);
    }

    /// Maps it, and has every page be resident.
    fn read_all_of(file: &fs::File, length: usize) -> &'static [u8] {
        use std::os::fd::AsRawFd;
        // SAFETY: a new mapping, which is never unmapped; nobody writes to the file any more.
        let mapped = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_POPULATE;
            let start = libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ,
                flags,
                file.as_raw_fd(),
                0,
            );
            assert_ne!(start, libc::MAP_FAILED);
            std::slice::from_raw_parts(start.cast::<u8>(), length)
        };
        assert!(mapped.iter().all(|byte| *byte == 1));
        mapped
    }
}
