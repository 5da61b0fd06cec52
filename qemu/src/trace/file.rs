//! A trace's file, written while a guest runs, and read in the order of time.

use super::area::Taken;
use crate::error::Error;
use isochron_wire::trace::area::MAX_CPUS;
use isochron_wire::trace::file::{Batch, CHUNK_HEAD, ChunkHead, HEAD, Kind, MAGIC, MAX_BODY, chunk_head, head};
use isochron_wire::trace::{Note, RECORD_BYTES, VERSION};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// About the run, in words: `app`, `machine`, `clock_hz`... The names stay.
pub type Facts = BTreeMap<String, String>;

/// The records of one CPU, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Written by the guest, and here.
    pub written: u64,
    /// For which the ring had no room.
    pub dropped: u64,
}

/// Writes a file from its start to its end.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Begins.
    ///
    /// # Errors
    /// What `out` says.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&head())?;
        Ok(Self { out })
    }

    fn chunk(&mut self, kind: Kind, body: &[u8]) -> io::Result<()> {
        self.out.write_all(&chunk_head(kind, body))?;
        self.out.write_all(body)
    }

    /// What is known of the run.
    ///
    /// # Errors
    /// What the output says.
    pub fn facts(&mut self, facts: &Facts) -> io::Result<()> {
        let line = |(key, value): (&String, &String)| format!("{key}={}\n", value.replace('\n', " "));
        self.chunk(Kind::Facts, facts.iter().map(line).collect::<String>().as_bytes())
    }

    /// Records of a CPU, as they were taken: at most [`MOST_AT_ONCE`].
    ///
    /// # Errors
    /// What the output says.
    pub fn records(&mut self, cpu: u32, taken: &Taken, records: &[u8]) -> io::Result<()> {
        let batch = Batch { cpu, first: taken.first, dropped: taken.dropped };
        self.chunk(Kind::Records, &[&batch.encode()[..], records].concat())
    }

    /// What an address in the records is called.
    ///
    /// # Errors
    /// What the output says.
    pub fn name(&mut self, address: u64, name: &str) -> io::Result<()> {
        let short = &name.as_bytes()[..name.floor_char_boundary(1024)];
        self.chunk(Kind::Name, &[&address.to_le_bytes()[..], short].concat())
    }

    /// All was written; `ending` says how the guest ended.
    ///
    /// # Errors
    /// What the output says.
    pub fn end(mut self, counts: &[Counts], ending: &str) -> io::Result<W> {
        let mut body = [(counts.len() as u32).to_le_bytes(), [0; 4]].concat();
        for count in counts {
            body.extend(count.written.to_le_bytes());
            body.extend(count.dropped.to_le_bytes());
        }
        body.extend(ending.bytes());
        self.chunk(Kind::End, &body)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// The most records in one chunk.
pub const MOST_AT_ONCE: u64 = 1 << 16;

/// How a trace ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// By CPU.
    pub counts: Vec<Counts>,
    /// How the guest ended.
    pub ending: String,
}

/// From where on a file was not read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The byte at which the chunk begins.
    pub at: u64,
    /// What is wrong with it.
    pub why: &'static str,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    /// Where the records begin.
    at: u64,
    bytes: usize,
}

/// A file that was looked through: everything but the records is here, and where those are.
#[derive(Debug)]
pub struct TraceFile<R> {
    input: R,
    /// About the run.
    pub facts: Facts,
    /// What addresses are called.
    pub names: BTreeMap<u64, String>,
    /// How it ended; `None` if the file goes on no further.
    pub end: Option<End>,
    /// From where on nothing was read.
    pub fault: Option<Fault>,
    counts: Vec<Counts>,
    chunks: Vec<Vec<Chunk>>,
}

impl TraceFile<BufReader<File>> {
    /// Opens a file and looks it through.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Corrupt`] if it does not even begin like a trace.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let found = Self::read(BufReader::with_capacity(1 << 20, file)).map_err(Error::io("read", path))?;
        found.map_err(|why| Error::Corrupt { path: path.to_path_buf(), why })
    }
}

impl<R: Read + Seek> TraceFile<R> {
    /// Looks through a file.
    ///
    /// # Errors
    /// What the system says; inside, why it is no trace.
    pub fn read(mut input: R) -> io::Result<Result<Self, String>> {
        let mut start = [0; HEAD];
        let got = fill(&mut input, &mut start)?;
        if got < HEAD || start[..8] != MAGIC {
            return Ok(Err("it is no trace".into()));
        }
        if start != head() {
            let version = u32::from_le_bytes([start[8], start[9], start[10], start[11]]);
            return Ok(Err(format!("it is a trace of version {version}; this program reads version {VERSION}")));
        }
        let mut file = Self {
            input,
            facts: Facts::new(),
            names: BTreeMap::new(),
            end: None,
            fault: None,
            counts: Vec::new(),
            chunks: Vec::new(),
        };
        let (mut at, mut body) = (HEAD as u64, Vec::new());
        loop {
            match file.next_chunk(at, &mut body)? {
                Ok(Some(next)) => at = next,
                Ok(None) => break,
                Err(why) => {
                    file.fault = Some(Fault { at, why });
                    break;
                }
            }
        }
        Ok(Ok(file))
    }

    /// Takes in the chunk at `at`; where the next one is, `None` at the end of the file.
    fn next_chunk(&mut self, at: u64, body: &mut Vec<u8>) -> io::Result<Result<Option<u64>, &'static str>> {
        let mut head = [0; CHUNK_HEAD];
        match fill(&mut self.input, &mut head)? {
            0 if self.end.is_some() => return Ok(Ok(None)),
            0 => return Ok(Err("the file ends before the trace does")),
            got if got < CHUNK_HEAD => return Ok(Err("the file is cut short")),
            _ if self.end.is_some() => return Ok(Err("there is something behind the end of the trace")),
            _ => {}
        }
        let Some(head) = ChunkHead::read(&head) else { return Ok(Err("no chunk begins so")) };
        debug_assert!(head.length <= MAX_BODY);
        body.resize(head.length, 0);
        if fill(&mut self.input, body)? < head.length {
            return Ok(Err("the file is cut short"));
        }
        if !head.fits(body) {
            return Ok(Err("the checksum is wrong"));
        }
        let start = at + CHUNK_HEAD as u64;
        let taken = match head.kind {
            Some(Kind::Facts) => self.take_facts(body),
            Some(Kind::Records) => self.take_records(start, body),
            Some(Kind::Name) => self.take_name(body),
            Some(Kind::End) => self.take_end(body),
            None => Err("a chunk of an unknown kind"),
        };
        Ok(taken.map(|()| Some(start + head.length as u64)))
    }

    fn take_facts(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let text = std::str::from_utf8(body).map_err(|_| "the facts are no text")?;
        let pair = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.facts.extend(text.lines().filter_map(pair));
        Ok(())
    }

    fn take_records(&mut self, start: u64, body: &[u8]) -> Result<(), &'static str> {
        let (batch, records) = Batch::read(body).ok_or("a chunk of records that is none")?;
        let cpu = batch.cpu as usize;
        if self.counts.len() <= cpu {
            self.counts.resize(cpu + 1, Counts::default());
            self.chunks.resize(cpu + 1, Vec::new());
        }
        let counts = &mut self.counts[cpu];
        if batch.first != counts.written || batch.dropped < counts.dropped {
            return Err("records are missing before it");
        }
        counts.written += (records.len() / RECORD_BYTES) as u64;
        counts.dropped = batch.dropped;
        self.chunks[cpu].push(Chunk { at: start + Batch::BYTES as u64, bytes: records.len() });
        Ok(())
    }

    fn take_name(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let (address, name) = body.split_first_chunk().ok_or("a name without an address")?;
        let name = std::str::from_utf8(name).map_err(|_| "a name that is no text")?;
        self.names.insert(u64::from_le_bytes(*address), name.to_owned());
        Ok(())
    }

    fn take_end(&mut self, body: &[u8]) -> Result<(), &'static str> {
        const BAD: &str = "an end that is none";
        let (count, rest) = body.split_first_chunk::<8>().ok_or(BAD)?;
        let count = u32::from_le_bytes([count[0], count[1], count[2], count[3]]);
        if count > MAX_CPUS {
            return Err(BAD);
        }
        let (counts, ending) = rest.split_at_checked(count as usize * 16).ok_or(BAD)?;
        let word = |at: &[u8]| at.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let pair = |bytes: &[u8]| Counts { written: word(bytes), dropped: word(&bytes[8..]) };
        let ending = std::str::from_utf8(ending).map_err(|_| BAD)?.to_owned();
        self.end = Some(End { counts: counts.chunks_exact(16).map(pair).collect(), ending });
        Ok(())
    }

    /// Ticks of the guest's clock in a second: 1 where the file does not say.
    #[must_use]
    pub fn clock_hz(&self) -> u64 {
        self.facts.get("clock_hz").and_then(|hz| hz.parse().ok()).filter(|hz| *hz > 0).unwrap_or(1)
    }

    /// How many records of each CPU are here, and how many were dropped as far as is known.
    #[must_use]
    pub fn counts(&self) -> Vec<Counts> {
        let mut counts = self.counts.clone();
        let ends = self.end.iter().flat_map(|end| end.counts.iter());
        for (at, end) in ends.enumerate() {
            if counts.len() <= at {
                counts.push(Counts::default());
            }
            counts[at].dropped = end.dropped.max(counts[at].dropped);
        }
        counts
    }

    /// The times of the first record and of the last, in ticks; `None` without records.
    ///
    /// # Errors
    /// What the system says.
    pub fn time_range(&mut self) -> io::Result<Option<(u64, u64)>> {
        let mut range: Option<(u64, u64)> = None;
        let filled = |chunks: &Vec<Chunk>| {
            let mut filled = chunks.iter().filter(|chunk| chunk.bytes > 0);
            let first = filled.next()?.at;
            let last = filled.next_back().map_or(first, |chunk| chunk.at);
            let bytes = chunks.iter().rfind(|chunk| chunk.bytes > 0)?.bytes as u64;
            Some([first, last + bytes - RECORD_BYTES as u64])
        };
        for at in self.chunks.iter().filter_map(filled).flatten().collect::<Vec<_>>() {
            let mut time = [0; 8];
            self.input.seek(SeekFrom::Start(at))?;
            self.input.read_exact(&mut time)?;
            let time = u64::from_le_bytes(time);
            range = Some(range.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
        }
        Ok(range)
    }

    /// All records in the order of time; those of one CPU stay in their order. A chunk of each CPU is in memory at a time.
    ///
    /// # Errors
    /// What the system says of the first chunks.
    pub fn notes(&mut self) -> io::Result<Notes<'_, R>> {
        let lanes = self.chunks.iter().map(|chunks| Lane { chunks, next: 0, records: Vec::new(), at: 0 }).collect();
        let mut notes = Notes { input: &mut self.input, lanes, first: BinaryHeap::new(), strange: 0, failed: None };
        for cpu in 0..notes.lanes.len() {
            notes.advance(cpu)?;
        }
        Ok(notes)
    }
}

/// Reads until the buffer is full or the input ends. How many bytes it was.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match input.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// One CPU's records.
#[derive(Debug)]
struct Lane<'f> {
    chunks: &'f [Chunk],
    next: usize,
    records: Vec<u8>,
    at: usize,
}

/// Iterator of [`TraceFile::notes`].
#[derive(Debug)]
pub struct Notes<'f, R> {
    input: &'f mut R,
    lanes: Vec<Lane<'f>>,
    first: BinaryHeap<Reverse<(u64, usize, Waiting)>>,
    /// Records that say nothing.
    pub strange: u64,
    /// What the system said when it could not be read on.
    pub failed: Option<io::Error>,
}

/// A note that takes no part in the order.
#[derive(Debug)]
struct Waiting(Note);

impl PartialEq for Waiting {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl<R: Read + Seek> Notes<'_, R> {
    /// Puts the next record of a CPU in the order.
    fn advance(&mut self, cpu: usize) -> io::Result<()> {
        let lane = &mut self.lanes[cpu];
        loop {
            while let Some(record) = lane.records[lane.at..].first_chunk::<RECORD_BYTES>() {
                lane.at += RECORD_BYTES;
                if let Some(note) = Note::read(record, cpu as u32) {
                    self.first.push(Reverse((note.time, cpu, Waiting(note))));
                    return Ok(());
                }
                self.strange += 1;
            }
            let Some(chunk) = lane.chunks.get(lane.next) else { return Ok(()) };
            (lane.next, lane.at) = (lane.next + 1, 0);
            self.input.seek(SeekFrom::Start(chunk.at))?;
            lane.records.resize(chunk.bytes, 0);
            self.input.read_exact(&mut lane.records)?;
        }
    }
}

impl<R: Read + Seek> Iterator for Notes<'_, R> {
    type Item = Note;

    fn next(&mut self) -> Option<Note> {
        let Reverse((_, cpu, Waiting(note))) = self.first.pop()?;
        if let Err(error) = self.advance(cpu) {
            self.failed = Some(error);
            self.first.clear();
        }
        Some(note)
    }
}
