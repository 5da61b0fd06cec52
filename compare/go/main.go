// Go's goroutines and channels; GOMAXPROCS is 1 where one CPU is measured.
package main

import (
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// How much of what each row does: as in ../src/rows.rs.
const (
	switches  = 2_000_000
	many      = 200_000
	manyTurns = 5
	spawnJoin = 200_000
	spawnMany = 1_000_000
	rounds    = 200_000
	messages  = 2_000_000
	capacity  = 1024
	leaves    = 1_000_000
	fibOf     = 30
	wakeMany  = 1_000_000
	parked    = 200_000
	timers    = 1_000_000
	sleeps    = 1000
	locks     = 2_000_000
)

func value(name string, value float64) { fmt.Println("ROW", name, value) }

func check(right bool) {
	if !right {
		panic("a wrong result")
	}
}

func oneCPU() { runtime.GOMAXPROCS(1) }

func nsEach(count int, f func()) float64 {
	begin := time.Now()
	f()
	return float64(time.Since(begin).Nanoseconds()) / float64(count)
}

func percentile(samples []float64, percent float64) float64 {
	sort.Float64s(samples)
	return samples[int(float64(len(samples)-1)*percent/100+0.5)]
}

func switchTwo() {
	oneCPU()
	value("switch", nsEach(switches, func() {
		var all sync.WaitGroup
		for t := 0; t < 2; t++ {
			all.Add(1)
			go func() {
				for n := 0; n < switches/2; n++ {
					runtime.Gosched()
				}
				all.Done()
			}()
		}
		all.Wait()
	}))
}

// Each waits for its own word, is woken in random order, then yields.
func switchMany() {
	oneCPU()
	words := make([]chan struct{}, many)
	var all sync.WaitGroup
	for i := range words {
		word := make(chan struct{}, 1)
		words[i] = word
		all.Add(1)
		go func() {
			<-word
			for n := 0; n < manyTurns; n++ {
				runtime.Gosched()
			}
			all.Done()
		}()
	}
	runtime.Gosched()
	for _, i := range rand.New(rand.NewSource(1)).Perm(many) {
		words[i] <- struct{}{}
	}
	value("switch_many", nsEach(many*manyTurns, all.Wait))
}

func spawnJoinOne() {
	oneCPU()
	sum := 0
	value("spawn_join", nsEach(spawnJoin, func() {
		done := make(chan int)
		for n := 0; n < spawnJoin; n++ {
			go func() { done <- n }()
			sum += <-done
		}
	}))
	check(sum == spawnJoin*(spawnJoin-1)/2)
}

func spawnManyAtOnce() {
	var sum atomic.Int64
	value("spawn_many", nsEach(spawnMany, func() {
		var all sync.WaitGroup
		all.Add(spawnMany)
		for n := 0; n < spawnMany; n++ {
			go func() {
				sum.Add(int64(n))
				all.Done()
			}()
		}
		all.Wait()
	}))
	check(sum.Load() == spawnMany*(spawnMany-1)/2)
}

func round() float64 {
	there, back := make(chan int, 1), make(chan int, 1)
	go func() {
		for n := range there {
			back <- n + 1
		}
	}()
	return nsEach(rounds, func() {
		for n := 0; n < rounds; n++ {
			there <- n
			check(<-back == n+1)
		}
	})
}

// Each side on a thread of its own: otherwise both run on one CPU.
func crossCoreRound() {
	there, back := make(chan int), make(chan int)
	go func() {
		runtime.LockOSThread()
		for n := range there {
			back <- n + 1
		}
	}()
	runtime.LockOSThread()
	value("cross_core_round", nsEach(rounds/10, func() {
		for n := 0; n < rounds/10; n++ {
			there <- n
			check(<-back == n+1)
		}
	}))
}

func throughput(senders, receivers int) float64 {
	messagesThrough := make(chan int, capacity)
	var sending, receiving sync.WaitGroup
	var sum atomic.Int64
	begin := time.Now()
	sending.Add(senders)
	for s := 0; s < senders; s++ {
		go func() {
			for n := 0; n < messages/senders; n++ {
				messagesThrough <- n
			}
			sending.Done()
		}()
	}
	receiving.Add(receivers)
	for r := 0; r < receivers; r++ {
		go func() {
			mine := 0
			for n := range messagesThrough {
				mine += n
			}
			sum.Add(int64(mine))
			receiving.Done()
		}()
	}
	sending.Wait()
	close(messagesThrough)
	receiving.Wait()
	each := messages / senders
	check(int(sum.Load()) == senders*(each*(each-1)/2))
	return messages / time.Since(begin).Seconds() / 1e6
}

func node(result chan<- int, number, size int) {
	if size == 1 {
		result <- number
		return
	}
	children := make(chan int, 10)
	for n := 0; n < 10; n++ {
		go node(children, number+n*(size/10), size/10)
	}
	sum := 0
	for n := 0; n < 10; n++ {
		sum += <-children
	}
	result <- sum
}

func skynet() {
	result := make(chan int)
	begin := time.Now()
	go node(result, 0, leaves)
	check(<-result == leaves*(leaves-1)/2)
	value("skynet", float64(time.Since(begin).Nanoseconds())/1e6)
}

// A goroutine for the second half of each fork.
func fib(n int) int {
	if n < 2 {
		return n
	}
	second := make(chan int, 1)
	go func() { second <- fib(n - 2) }()
	return fib(n-1) + <-second
}

func forkJoin() {
	begin := time.Now()
	check(fib(fibOf) == 832_040)
	value("fork_join", float64(time.Since(begin).Nanoseconds())/1e6)
}

func memory() {
	count := parked
	if len(os.Args) > 2 {
		count, _ = strconv.Atoi(os.Args[2])
	}
	oneCPU()
	never := make(chan struct{})
	for n := 0; n < count; n++ {
		go func() { <-never }()
	}
	runtime.Gosched()
}

func wakeAll() {
	oneCPU()
	words := make([]chan struct{}, wakeMany)
	var all sync.WaitGroup
	all.Add(wakeMany)
	for i := range words {
		word := make(chan struct{}, 1)
		words[i] = word
		go func() {
			<-word
			all.Done()
		}()
	}
	runtime.Gosched()
	value("wake_many", nsEach(wakeMany, func() {
		for _, word := range words {
			word <- struct{}{}
		}
		all.Wait()
	}))
}

func timersInAndOut() {
	oneCPU()
	all := make([]*time.Timer, timers)
	value("timer_insert", nsEach(timers, func() {
		for n := range all {
			all[n] = time.AfterFunc(10*time.Second+time.Duration(n*7919%10_000_000)*time.Microsecond, func() {})
		}
	}))
	value("timer_cancel", nsEach(timers, func() {
		for _, timer := range all {
			timer.Stop()
		}
	}))
}

func late(sleep time.Duration) []float64 {
	samples := make([]float64, sleeps)
	for n := range samples {
		deadline := time.Now().Add(sleep)
		time.Sleep(sleep)
		samples[n] = time.Since(deadline).Seconds()
	}
	return samples
}

// The hogs never yield: the runtime takes their CPUs from them.
func hogs() {
	var stop atomic.Bool
	for h := 0; h < 4; h++ {
		go func() {
			for !stop.Load() {
			}
		}()
	}
	samples := late(time.Millisecond)
	stop.Store(true)
	value("hogs_late_p50", percentile(samples, 50)*1e3)
	value("hogs_late_p99", percentile(samples, 99)*1e3)
}

func mutex() {
	var lock sync.Mutex
	var all sync.WaitGroup
	count := 0
	value("mutex_2_barging", nsEach(locks, func() {
		for t := 0; t < 2; t++ {
			all.Add(1)
			go func() {
				for n := 0; n < locks/2; n++ {
					lock.Lock()
					count++
					lock.Unlock()
				}
				all.Done()
			}()
		}
		all.Wait()
	}))
	check(count == locks)
}

var rows = map[string]func(){
	"switch":           switchTwo,
	"switch_many":      switchMany,
	"spawn_join":       spawnJoinOne,
	"spawn_many":       spawnManyAtOnce,
	"channel_round":    func() { oneCPU(); value("channel_round", round()) },
	"cross_core_round": crossCoreRound,
	"channel_1_1":      func() { value("channel_1_1", throughput(1, 1)) },
	"channel_4_1":      func() { value("channel_4_1", throughput(4, 1)) },
	"channel_4_4":      func() { value("channel_4_4", throughput(4, 4)) },
	"skynet":           skynet,
	"fork_join":        forkJoin,
	"memory":           memory,
	"wake_many":        wakeAll,
	"timers":           timersInAndOut,
	"sleep_late":       func() { value("sleep_late", percentile(late(100*time.Microsecond), 50)*1e6) },
	"hogs_late":        hogs,
	"mutex_2":          mutex,
}

func main() {
	if len(os.Args) < 2 {
		os.Exit(2)
	}
	if os.Args[1] == "--list" {
		for name := range rows {
			fmt.Println(name)
		}
		return
	}
	row, there := rows[os.Args[1]]
	if !there {
		os.Exit(2)
	}
	row()
}
