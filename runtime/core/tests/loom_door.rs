//! Model checks of a receiver that waits in a channel's door and is handed over.
#![cfg(loom)]

use std::ptr::NonNull;

use isochron_core::channel::blocks::{Block, Memory, Slot};
use isochron_core::channel::{Channel, Guest, Node, Standing, Step, Waiter};
use isochron_core::thread_state::{CommitPark, ThreadState, Unpark};
use isochron_core::wait_queue::{WaitToken, Wake};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// A green thread of the model.
struct Green {
    state: ThreadState,
    /// 1 while it is saved.
    context: UnsafeCell<u32>,
    /// It is in a queue.
    queued: AtomicU32,
}

impl Green {
    /// It is the caller's, who queues it: some CPU could run it at once, and reads what was saved.
    fn queue(&self) {
        // SAFETY: the protocol says that it is the caller's.
        self.context.with_mut(|saved| unsafe {
            assert_eq!(*saved, 1, "its context is not saved");
            *saved = 0;
        });
        assert_eq!(self.queued.swap(1, Ordering::AcqRel), 0, "queued twice");
    }

    /// Its CPU has left it.
    fn save(&self) {
        // SAFETY: nobody else has it.
        self.context.with_mut(|saved| unsafe { *saved = 1 });
    }

    /// Until it is taken from the queue.
    fn wait(&self) {
        while self.queued.swap(0, Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        assert!(self.state.set_running(), "on two CPUs");
    }

    /// A park, as far as there is one in the model: the switch away and back.
    fn park(&self) {
        if self.state.begin_park() == isochron_core::thread_state::ParkDecision::Park {
            self.save();
            if self.state.commit_park() == CommitPark::WokenMeanwhile {
                self.queue();
            }
            self.wait();
        }
    }
}

#[derive(Clone, Copy)]
struct Name(NonNull<Green>);

// SAFETY: what is shared of it is made for that.
unsafe impl Send for Name {}
// SAFETY: as above.
unsafe impl Sync for Name {}

impl Name {
    fn green(&self) -> &Green {
        // SAFETY: they live as long as the world.
        unsafe { self.0.as_ref() }
    }
}

impl Waiter for Name {
    unsafe fn take_over(self) -> bool {
        self.green().state.take_handed()
    }

    unsafe fn sit_down(self) {
        if self.green().state.park_handed() == Some(CommitPark::WokenMeanwhile) {
            self.green().queue();
        }
    }
}

/// A message whose content the model checker watches.
struct Message(Box<UnsafeCell<u32>>);

// SAFETY: moved from sender to receiver, whole.
unsafe impl Send for Message {}

impl Message {
    fn new(value: u32) -> Self {
        let message = Self(Box::new(UnsafeCell::new(0)));
        // SAFETY: not shared.
        message.0.with_mut(|at| unsafe { *at = value });
        message
    }

    fn value(&self) -> u32 {
        // SAFETY: the channel has handed it over.
        self.0.with(|at| unsafe { *at })
    }
}

struct Heap;

fn block() -> NonNull<Block<Message, [Slot<Message>; 1]>> {
    NonNull::from(Box::leak(Box::new(Block::new([Slot::empty()]))))
}

// SAFETY: leaked boxes stay where they are.
unsafe impl Memory<Message> for Heap {
    type Slots = [Slot<Message>; 1];

    fn more() -> Option<NonNull<Block<Message, Self::Slots>>> {
        Some(block())
    }

    unsafe fn free(block: NonNull<Block<Message, Self::Slots>>) {
        // SAFETY: from `block`, and nobody's any more (caller).
        drop(unsafe { Box::from_raw(block.as_ptr()) });
    }
}

struct World {
    channel: Channel<Message, Name, Heap>,
    receiver: Box<Green>,
    /// While a CPU has its lock, it takes no interrupts: the receiver's, and the sender's.
    masked: [Mutex<()>; 2],
}

// SAFETY: what goes from thread to thread is `Send`.
unsafe impl Send for World {}
// SAFETY: as above; all of it is made for sharing.
unsafe impl Sync for World {}

impl World {
    fn new() -> Arc<Self> {
        let receiver =
            Box::new(Green { state: ThreadState::new(), context: UnsafeCell::new(0), queued: AtomicU32::new(0) });
        assert!(receiver.state.set_running());
        // SAFETY: the block is new.
        let channel = unsafe { Channel::bounded(block()) };
        Arc::new(Self { channel, receiver, masked: [Mutex::new(()), Mutex::new(())] })
    }

    fn name(&self) -> Name {
        Name(NonNull::from(&*self.receiver))
    }

    /// As the runtime receives; `None` if it is to die.
    fn receive(&self) -> Option<u32> {
        let me = &*self.receiver;
        let masked = self.masked[0].lock().unwrap();
        let head = self.channel.taken();
        if let Some((message, _)) = self.channel.take_after(head) {
            return Some(message.value());
        }
        let token = WaitToken::new();
        let mut standing = Standing::new(self.name(), &token);
        let place = NonNull::from(&mut standing);
        // SAFETY: all stays here until the wait is over.
        unsafe {
            let Some(at_door) = self.channel.at_door(head) else {
                return match self.channel.recv_or_wait(Standing::new_node(place)) {
                    Step::Done((message, _)) => Some(message.value()),
                    Step::Waiting | Step::Closed => unreachable!("nobody else waits"),
                };
            };
            if !me.state.begin_handed() {
                return None;
            }
            let guest = at_door.stand(place);
            me.save();
            // Whoever goes on, on this CPU.
            Guest::stand_in_door(guest);
            drop(masked);
            me.wait();
            if let Some(message) = Standing::take_gift(place) {
                return Some(message.value());
            }
            self.channel.sit_down();
            let node: NonNull<Node<Message, Name>> = Standing::node(place);
            while !token.is_claimed() {
                if me.state.is_killed() && token.fire(1) {
                    self.channel.forget_receiver(node);
                    return None;
                }
                me.park();
            }
            while token.outcome().is_none() {
                thread::yield_now();
            }
            (*node.as_ptr()).payload.take().map(|message| message.value())
        }
    }

    fn wake(&self, wake: Option<Wake<Name>>) {
        let Some(wake) = wake else { return };
        let green = wake.waiter().0;
        // SAFETY: alive.
        let green = unsafe { green.as_ref() };
        if wake.is_handed_over() {
            green.queue();
        } else {
            let unpark = green.state.unpark();
            wake.publish();
            if unpark == Unpark::Enqueue {
                green.queue();
            }
        }
    }

    fn send(&self, value: u32) {
        let _masked = self.masked[1].lock().unwrap();
        match self.channel.try_send(Message::new(value)) {
            Ok(wake) => self.wake(wake),
            Err(_) => unreachable!("there is room"),
        }
    }

    fn kill(&self) {
        match self.receiver.state.kill() {
            None => {}
            Some(Unpark::Enqueue) => self.receiver.queue(),
            Some(Unpark::Nothing) => {
                // Every CPU passes a barrier, outside of what it does with interrupts masked.
                self.masked.iter().for_each(|cpu| drop(cpu.lock().unwrap()));
                if self.receiver.state.take_doomed() {
                    self.receiver.queue();
                }
            }
        }
    }
}

fn side(world: &Arc<World>, does: impl FnOnce(&World) + 'static) -> thread::JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(move || does(&world))
}

#[test]
fn who_stands_in_the_door_is_handed_over_whole() {
    loom::model(|| {
        let world = World::new();
        let sender = side(&world, |world| world.send(7));
        assert_eq!(world.receive(), Some(7));
        sender.join().unwrap();
        assert!(world.channel.is_empty());
    });
}

#[test]
fn an_unpark_does_not_disturb_who_stands_in_the_door() {
    loom::model(|| {
        let world = World::new();
        let sender = side(&world, |world| {
            if world.receiver.state.unpark() == Unpark::Enqueue {
                world.receiver.queue();
            }
            world.send(7);
        });
        assert_eq!(world.receive(), Some(7));
        sender.join().unwrap();
    });
}

#[test]
fn who_stands_in_the_door_and_is_killed_goes_once() {
    loom::model(|| {
        let world = World::new();
        let killer = side(&world, World::kill);
        let sender = side(&world, |world| world.send(7));
        let got = world.receive();
        sender.join().unwrap();
        killer.join().unwrap();
        let left = world.channel.try_recv().ok().map(|(message, _)| message.value());
        assert_eq!(got.xor(left), Some(7), "the message is lost, or there twice");
    });
}

#[test]
fn who_stands_in_the_door_is_put_into_the_queue_by_another() {
    loom::model(|| {
        let world = World::new();
        let other = side(&world, |world| {
            let masked = world.masked[1].lock().unwrap();
            // Puts whoever stands there into the queue.
            world.channel.sit_down();
            drop(masked);
            world.send(7);
        });
        assert_eq!(world.receive(), Some(7));
        other.join().unwrap();
    });
}
