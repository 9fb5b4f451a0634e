package command

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type lockCmd struct {
	connection
	ttl  time.Duration
	wait time.Duration
	name string
}

func (c *lockCmd) spec() spec {
	return spec{
		name: "lock", args: "KEY CMD…", minArgs: 2, maxArgs: -1, child: true, ownSignals: true,
		synopsis: "Run a command while holding a lock",
		help: "Waits for the lock KEY, runs CMD, gives the lock back and ends with CMD's exit code. KEY is a key of the key/value " +
			"store that is used for nothing else. When the lock is lost (this machine cut off for longer than -ttl), CMD gets " +
			"SIGTERM, and SIGKILL 5 seconds later. CMD finds PGRAFT_LOCK_KEY in its environment, and in PGRAFT_LOCK_INDEX a number that grows with each holder: " +
			"what CMD writes to can refuse a lower one than it has seen. A CMD of one word with spaces is given to sh -c.",
		examples: []string{
			"pgraft lock jobs/nightly ./nightly.sh",
			"pgraft lock -wait=0s jobs/backup pg_dump -Fc -f /backup/db.dump db",
		},
	}
}

func (c *lockCmd) flags(fs *flag.FlagSet) {
	c.connection.flags(fs)
	fs.DurationVar(&c.ttl, "ttl", 15*time.Second, "the lock is free again so long after its holder vanished")
	fs.DurationVar(&c.wait, "wait", -1, "give up when the lock is not got within this `duration`; 0s tries once")
	fs.Lookup("wait").DefValue = "for ever"
	fs.StringVar(&c.name, "name", "", "shown as the holder (default: this host and process)")
}

func (c *lockCmd) run(ctx context.Context, x *call) error {
	if c.name == "" {
		host, _ := os.Hostname()
		c.name = fmt.Sprintf("%s, process %d", host, os.Getpid())
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	l := &lock{client: client, key: x.args[0], holder: c.name, ttl: c.ttl}
	if err := l.acquire(ctx, c.wait); err != nil {
		if ctx.Err() != nil {
			return &exitError{code: exitFailed, err: errors.New("interrupted before the lock was got")}
		}
		return c.locate(client, err)
	}
	// Signals go to the child while it runs: what ends it ends the lock.
	stop()
	err = l.runChild(x)
	if rerr := l.release(); rerr != nil {
		fmt.Fprintf(x.stderr, "Warning: the lock was not given back, it is free again in %s: %v\n", c.ttl, rerr)
	}
	return err
}

func (l *lock) command(x *call) *exec.Cmd {
	argv := x.args[1:]
	if len(argv) == 1 && strings.ContainsAny(argv[0], " \t") {
		argv = []string{"sh", "-c", argv[0]}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = x.stdin, x.stdout, x.stderr
	cmd.Env = append(os.Environ(), "PGRAFT_LOCK_KEY="+l.key, "PGRAFT_LOCK_INDEX="+strconv.FormatUint(l.index, 10))
	return cmd
}

// runChild runs the command, passes signals on to it, and ends it when the lock is lost.
func (l *lock) runChild(x *call) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	lost := l.watchLoss(ctx)
	cmd := l.command(x)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run %s: %w", x.args[1], err)
	}
	var result error // of cmd, once ended is closed
	ended := make(chan struct{})
	go func() { result = cmd.Wait(); close(ended) }()
	for {
		select {
		case <-ended:
			return childResult(x.args[1], result)
		case s := <-signals:
			_ = cmd.Process.Signal(s) // it has ended by itself: that comes next
		case err := <-lost:
			endChild(cmd.Process, ended)
			return advise(fmt.Errorf("the lock %s was lost while %s ran; it was ended: %w", l.key, x.args[1], err),
				"Another holder may be at work. See whether the cluster has a leader: pgraft status")
		}
	}
}

// childGrace is how long a command may go on without its lock after SIGTERM.
const childGrace = 5 * time.Second

// endChild ends a command that must not go on. How it ends matters less than that it does.
func endChild(process *os.Process, ended <-chan struct{}) {
	_ = process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(childGrace):
		_ = process.Kill()
		<-ended
	}
}

// lockInfo is what a lock's key holds, for people.
type lockInfo struct {
	Holder string    `json:"holder"`
	Since  time.Time `json:"since"`
}

func (l *lock) info() []byte {
	value, _ := json.Marshal(lockInfo{Holder: l.holder, Since: time.Now().UTC().Truncate(time.Second)}) // a struct of text: can't fail
	return value
}
