"""Commands for gdb that know Isochron's scheduler: `iso` lists them.

Loaded by `cargo run -- debug APP`. All of it reads the guest's memory by the names and types of the program's debug information;
nothing is called in the guest. For a backtrace of a thread that does not run, a CPU's registers are set and then put back.
"""

import re

import gdb

MASK = (1 << 64) - 1
# Bits of `word` and numbers of `phase` in runtime/core/src/thread_state.rs.
PARKED, EXITED, KILLED = 1, 2, 8
NEW, HANDED = 3, 4
# In runtime/core/src/run_queue.
NEXT_FULL, YOUNG_SHIFT = 1, 8
# In runtime/src/thread/control.rs.
ANY_CPU = 0x7FFF
# The longest list that is believed.
LONGEST = 1_000_000
WRAPPERS = ("UnsafeCell", "Cell", "Aligned", "MaybeUninit", "ManuallyDrop", "MaybeDangling")
# Whose frames say nothing about what a thread is at.
OURS = ("isochron::", "isochron_core::", "isochron_kernel::", "core::", "alloc::", "<core::", "<alloc::", "<isochron")


def fail(text):
    raise gdb.GdbError(text)


def memory(address, size):
    return bytes(gdb.selected_inferior().read_memory(address & MASK, size))


def word(address, size=8):
    return int.from_bytes(memory(address, size), "little")


def number(value):
    """A number, pointer or flag inside whatever wraps it."""
    return word(int(value.address), value.type.sizeof)


def inside(value):
    """What cells and the like hold."""
    while value.type.strip_typedefs().code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
        if (value.type.name or "").split("<")[0].split("::")[-1] not in WRAPPERS:
            break
        value = value[[field for field in value.type.fields() if field.type.sizeof > 0][-1]]
    return value


def field(value, *names):
    for name in names:
        value = inside(value)[name]
    return value


def locked(lock):
    """The value in a spin lock."""
    return inside(field(lock, "value"))


def static(name):
    symbol = gdb.lookup_global_symbol(name) or gdb.lookup_static_symbol(name)
    if symbol is not None:
        return symbol.value()
    try:
        return gdb.parse_and_eval(name)
    except gdb.error:
        fail(f"the program has no `{name}`: was it built by `cargo run -- debug`?")


def at(address, type_name):
    return gdb.Value(address & MASK).cast(gdb.lookup_type(type_name).pointer()).dereference()


class Thread:
    TYPE = "isochron::thread::control::Thread"

    def __init__(self, address):
        self.address = address
        self.block = at(address, self.TYPE)
        self.id = number(self.block["id"])
        self.word = number(field(self.block["state"], "word"))
        self.phase = number(field(self.block["state"], "phase"))

    @property
    def name(self):
        extras = at(number(self.block["extras"]), "isochron::thread::extras::Extras")
        start, length = (word(int(extras["name"].address) + offset) for offset in (0, 8))
        return memory(start, length).decode("utf-8", "replace") if start and 0 < length < 4096 else ""

    @property
    def title(self):
        return f"{self.id} '{self.name}'" if self.name else str(self.id)

    @property
    def bound(self):
        cpu = number(self.block["pinned"]) & ANY_CPU
        return None if cpu == ANY_CPU else cpu

    @property
    def context(self):
        """Where its stack ends, and where it goes on."""
        start = int(self.block["context"].address)
        return word(start), word(start + 8)

    def state(self, running, queued):
        if self.address in running:
            return f"runs on CPU {running[self.address]}"
        if self.word & EXITED:
            return "has ended"
        if self.address in queued:
            return f"waits for {queued[self.address]}"
        if self.word & PARKED:
            return "parked"
        if self.phase == HANDED:
            return "waits at a channel"
        return "is being switched"


class Cpu:
    def __init__(self, index, block):
        self.index, self.block = index, block
        self.worker = None
        workers = static("isochron::worker::WORKERS")
        address = number(workers[index])
        if address:
            self.worker = at(address, "isochron::worker::Worker")

    @property
    def state(self):
        states = ("off", "starting", "online", "left out", "stopped")
        number_of = number(self.block["state"])
        return states[number_of] if number_of < len(states) else str(number_of)


def cpus():
    found = static("isochron_kernel::cpu::CPUS")
    first, last = found.type.range()
    blocks = ((index, number(found[index])) for index in range(first, last + 1))
    return [Cpu(index, at(address, "isochron_kernel::cpu::PerCpu")) for index, address in blocks if address]


def register(*names):
    frame = gdb.newest_frame()
    for name in names:
        try:
            return int(frame.read_register(name)) & MASK
        except (ValueError, gdb.error):
            pass
    return None


class Selected:
    """Comes back to the thread of gdb's that was selected."""

    def __enter__(self):
        self.thread = gdb.selected_thread()
        return self

    def __exit__(self, *_):
        if self.thread is not None and self.thread.is_valid():
            self.thread.switch()


def running():
    """The threads that run, by address, with their CPUs; and gdb's threads by CPU."""
    blocks = {int(cpu.block.address) & MASK: cpu for cpu in cpus()}
    threads, seats = {}, {}
    with Selected():
        for seat in gdb.selected_inferior().threads():
            seat.switch()
            block = register("TPIDR_EL1", "gs_base")
            if block not in blocks:
                continue
            cpu = blocks[block]
            seats[cpu.index] = seat
            current = register("TPIDR_EL0")
            if current is None:
                current = number(cpu.block["current_thread"])
            if current:
                threads[current] = cpu.index
    return threads, seats


def linked(first):
    """Threads that hang together by their links."""
    count = 0
    while first and count < LONGEST:
        yield first
        first = number(at(first, Thread.TYPE)["link"])
        count += 1


def run_queue(worker):
    """What is in a CPU's run queue, in the order in which it goes, with where it is."""
    queue = worker["queue"]
    private = inside(queue["private"])
    ring, shared, young = (int(queue[name].address) for name in ("ring", "shared", "young"))
    size, young_size = queue["ring"].type.sizeof // 8, queue["young"].type.sizeof // 8
    special = number(private["special"])
    if special & NEXT_FULL:
        yield number(private["next"]), "next"
    count, head = special >> YOUNG_SHIFT, number(private["young_head"])
    for offset in reversed(range(min(count, young_size))):
        yield word(young + (head + offset) % young_size * 8), "young"
    head = number(private["head"])
    for offset in range(min(number(private["len"]), size)):
        yield word(ring + (head + offset) % size * 8), "own"
    claimed, tail = number(queue["shared_head"]) & 0xFFFFFFFF, number(queue["shared_tail"]) & 0xFFFFFFFF
    for offset in range(min((tail - claimed) & 0xFFFFFFFF, size)):
        yield word(shared + (claimed + offset) % size * 8), "shared"


def queues(cpu):
    worker = cpu.worker
    if worker is None:
        return
    yield from run_queue(worker)
    for address in reversed(list(linked(number(worker["inbox"])))):
        yield address, "inbox"
    for address in linked(number(inside(worker["overflow"]["__0"])["first"])):
        yield address, "overflow"
    lists = field(locked(worker["layers"]["inner"]), "lists")
    first, last = lists.type.range()
    for rank in reversed(range(first, last + 1)):
        for address in linked(number(lists[rank]["first"])):
            yield address, f"rank {rank}"


def injectors():
    found = static("isochron::worker::injectors::INJECTORS")
    first, last = found.type.range()
    for node in range(first, last + 1):
        strands = field(locked(inside(found[node]["list"])), "first")
        low, high = strands.type.range()
        for strand in range(low, high + 1):
            for address in linked(number(strands[strand])):
                yield address, node


def queued():
    """Where threads wait, by address."""
    places = {address: f"CPU {cpu.index} ({place})" for cpu in cpus() for address, place in queues(cpu)}
    places.update({address: f"node {node}'s list" for address, node in injectors()})
    return places


def all_threads():
    address = number(inside(field(locked(static("isochron::thread::listed::LISTED")), "__0")))
    found = []
    while address and len(found) < LONGEST:
        thread = Thread(address)
        found.append(thread)
        address = number(thread.block["place"]["next"])
    return sorted(found, key=lambda thread: thread.id)


def chosen(text):
    """The thread that the user means: by number, name or address."""
    text = text.strip()
    if not text:
        fail("which thread? A number, a name or an address, as `iso threads` has them")
    threads = all_threads()
    found = [thread for thread in threads if thread.name == text or str(thread.id) == text]
    if not found and text.startswith("0x"):
        found = [thread for thread in threads if thread.address == int(text, 16)]
    if not found:
        fail(f"there is no thread `{text}`; `iso threads` lists them")
    return found[0]


class Seated:
    """A CPU with other registers, for as long as it is looked at: those of a thread that does not run."""

    def __init__(self, values):
        self.values = values

    def __enter__(self):
        gdb.newest_frame().select()
        self.before = {name: register(name) for name in self.values}
        self.put(self.values)

    def __exit__(self, *_):
        self.put(self.before)

    @staticmethod
    def put(values):
        for name, value in values.items():
            gdb.execute(f"set var ${name} = {value}", to_string=True)


def is_arm():
    return register("x29") is not None


def switched(thread):
    """The registers with which a thread goes on, as the switch leaves them: see `arch/*/context.rs`."""
    stack, place = thread.context
    names = ("sp", "pc", "x19", "x29") if is_arm() else ("rsp", "rip", "rbx", "rbp")
    return dict(zip(names, (stack + 16, place, word(stack), word(stack + 8))))


def interrupted():
    """How many calls down the selected thread was interrupted, and the registers it had there; none if it was not.

    The way leads through code of the kernel's that gdb knows nothing about: see `arch/aarch64/trap/vectors.rs` (the frame record in
    an `InterruptFrame`, of 720 bytes, 144 from its beginning) and `arch/x86_64/entry.rs`."""
    frame, depth = gdb.newest_frame(), 0
    while frame is not None and depth < 64:
        depth += 1
        if frame.name() == "isochron_interrupt_saved":
            record = int(frame.read_register("x29"))
            return depth, {"sp": record + 576, "x29": word(record), "pc": word(record + 8), "x30": word(record + 16)}
        if frame.name() in ("isochron_preempt_saved", "isochron_preempt_in_area"):
            record = int(frame.read_register("rbp"))
            return depth, {"rbp": word(record), "rip": word(record + 8), "rsp": word(record + 32)}
        try:
            frame = frame.older()
        except gdb.error:
            break
    return None


def frames(limit=64):
    frame, names = gdb.newest_frame(), []
    while frame is not None and len(names) < limit:
        names.append(frame.name() or hex(frame.pc()))
        try:
            frame = frame.older()
        except gdb.error:
            break
    return names


def whereabouts(thread, seats, on):
    """The innermost function that is the program's own."""
    try:
        if thread.address in on:
            with Selected():
                seats[on[thread.address]].switch()
                names = frames()
        elif thread.phase == NEW or not thread.context[0]:
            return "has not begun"
        elif thread.word & EXITED:
            return ""
        else:
            with Seated(switched(thread)):
                names, before = frames(), interrupted()
            if before is not None:
                with Seated(before[1]):
                    names = frames()
    except (gdb.error, KeyError):
        return "?"
    own = [name for name in names if not name.startswith(OURS) and not name.startswith("0x")]
    return own[0] if own else (names[0] if names else "?")


def table(head, rows):
    rows = [head] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


class Iso(gdb.Command):
    """Isochron's CPUs, threads, queues, timers and locks."""

    def __init__(self):
        super().__init__("iso", gdb.COMMAND_STATUS, prefix=True)

    def invoke(self, text, from_tty):
        for command in COMMANDS:
            print(f"iso {command.NAME:<8} {command.__doc__}")


class Sub(gdb.Command):
    NAME = ""

    def __init__(self):
        super().__init__(f"iso {self.NAME}", gdb.COMMAND_STATUS)

    def invoke(self, text, from_tty):
        if gdb.selected_thread() is None:
            fail("nothing runs: `target remote` or `run` first")
        self.show(text)


class Cpus(Sub):
    """Each CPU: what it runs, how many wait for it, switches and interrupts so far."""

    NAME = "cpus"

    def show(self, text):
        threads, _ = running()
        by_cpu = {cpu: address for address, cpu in threads.items()}
        rows = []
        for cpu in cpus():
            current = by_cpu.get(cpu.index)
            shown = Thread(current).title if current else "nobody"
            switches = number(cpu.worker["switches"]) if cpu.worker is not None else 0
            waiting = len(list(queues(cpu)))
            rows.append((cpu.index, cpu.state, shown, waiting, switches, number(cpu.block["interrupts"])))
        table(("CPU", "state", "runs", "waiting", "switches", "interrupts"), rows)


class Queues(Sub):
    """The threads that wait for each CPU, in the order in which they go, and where."""

    NAME = "queues"

    def show(self, text):
        for cpu in cpus():
            waiting = list(queues(cpu))
            print(f"CPU {cpu.index}: {len(waiting)} waiting")
            for address, place in waiting:
                print(f"  {place:<8} {Thread(address).title}")
        for address, node in injectors():
            print(f"node {node}'s list: {Thread(address).title}")


class Threads(Sub):
    """All threads: state, CPU they are bound to, and the innermost function of the program's own."""

    NAME = "threads"

    def show(self, text):
        on, seats = running()
        where = queued()
        rows = []
        for thread in all_threads():
            bound = "" if thread.bound is None else thread.bound
            state = thread.state(on, where) + (", to be ended" if thread.word & KILLED else "")
            rows.append((thread.id, thread.name, state, bound, whereabouts(thread, seats, on), hex(thread.address)))
        table(("id", "name", "state", "bound", "in", "block"), rows)


class Backtrace(Sub):
    """The calls of a thread, by number, name or address; it need not run."""

    NAME = "bt"

    def show(self, text):
        thread = chosen(text)
        on, seats = running()
        print(f"thread {thread.title}, {thread.state(on, queued())}")
        if thread.address in on:
            with Selected():
                seats[on[thread.address]].switch()
                gdb.execute("backtrace")
        elif thread.phase == NEW or not thread.context[0]:
            print("it has not begun")
        elif thread.word & EXITED:
            print("its stack is no more")
        else:
            with Seated(switched(thread)):
                before = interrupted()
                gdb.execute("backtrace" if before is None else f"backtrace {before[0]}")
            if before is not None:
                print("interrupted, where it was at:")
                with Seated(before[1]):
                    gdb.execute("backtrace")


class Timers(Sub):
    """What is set to happen at a time: which CPU, when, and which thread it wakes."""

    NAME = "timers"

    def show(self, text):
        rows = []
        hertz = frequency()
        for cpu in cpus():
            if cpu.worker is None:
                continue
            slots = field(locked(cpu.worker["timers"]["wheel"]), "slots")
            data = memory(int(slots.address), slots.type.sizeof)
            node = slots.type.target().target()
            for first in (int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)):
                address, count = first, 0
                while address and count < LONGEST:
                    timer = gdb.Value(address).cast(node.pointer()).dereference()
                    rows.append((number(timer["deadline"]), cpu.index, action(timer["action"])))
                    address, count = number(timer["next"]), count + 1
                    if address == first:
                        break
        shown = ((cpu, ticks, f"{ticks / hertz:.6f}", what) for ticks, cpu, what in sorted(rows))
        table(("CPU", "ticks", "seconds", "then"), shown)


def frequency():
    for port in ("aarch64", "x86_64", "hosted"):
        try:
            return number(gdb.parse_and_eval(f"isochron_kernel::arch::{port}::clock::FREQUENCY"))
        except gdb.error:
            pass
    return 1_000_000_000


def action(value):
    text = str(value)
    found = pointers(text)
    if "Wake" in text and found:
        return f"wakes {Thread(found[0]).title}"
    function = re.search(r"<(.*)>", text)
    return f"calls {function.group(1)}" if function else text


class Locks(Sub):
    """Who waits for which lock, and who has it; spin locks that are taken."""

    NAME = "locks"

    def show(self, text):
        lists = static("isochron::sync::inherit::WAITS")
        first, last = lists.type.range()
        rows = []
        for at_list in range(first, last + 1):
            wait = number(field(locked(lists[at_list]), "first"))
            while wait:
                record = at(wait, "isochron::sync::inherit::Wait")
                rows.append(self.row(record))
                wait = number(record["next"])
        if rows:
            table(("lock", "at", "held by", "awaited by"), rows)
        else:
            print("nobody waits for a mutex, a reader-writer lock or a once")
        for cpu in cpus():
            if cpu.worker is None:
                continue
            for name, lock in (("timers", cpu.worker["timers"]["wheel"]), ("layers", cpu.worker["layers"]["inner"])):
                if number(field(lock, "locked")):
                    print(f"spin lock of CPU {cpu.index}'s {name}: taken")

    @staticmethod
    def row(record):
        awaited = str(record["awaited"])
        kind = next((kind for kind in ("Mutex", "RwLock", "Once") if kind in awaited), "?")
        places = pointers(awaited)
        lock = places[0] if places else 0
        owners = []
        if kind == "Mutex" and lock:
            # The lowest bit says that somebody waits.
            owners = [number(at(lock, MUTEX)["word"]) & ~1]
        elif kind == "RwLock" and lock:
            # A writer, or some of the readers.
            known = field(locked(at(lock, RWLOCK)["inner"]), "known")
            first, last = known.type.range()
            owners = [number(known[index]) for index in range(first, last + 1)]
        alive = {thread.address for thread in all_threads()}
        shown = [Thread(owner).title if owner in alive else "one that is gone" for owner in owners if owner]
        return kind.lower(), hex(lock), ", ".join(shown) or "?", Thread(number(record["waiter"])).title


def pointers(text):
    """The addresses in what gdb prints of a value."""
    return [int(found, 16) for found in re.findall(r"0x[0-9a-f]+", text)]

RWLOCK = "isochron_core::raw_rwlock::RawRwLock<core::ptr::non_null::NonNull<isochron::thread::control::Thread>>"
MUTEX = "isochron_core::raw_mutex::RawMutex<core::ptr::non_null::NonNull<isochron::thread::control::Thread>>"
COMMANDS = (Cpus, Queues, Threads, Backtrace, Timers, Locks)

gdb.execute("set language rust", to_string=True)
Iso()
for each in COMMANDS:
    each()
