/*
 * cmd_debug.c - `ringside debug`: a gdb remote stub on a trace or on a running guest, and by default gdb itself in front of it.
 *
 * gdb runs as a child on the same terminal. While it does, the signals of the keyboard are its own: ringside hears of an interrupt through the protocol.
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replayer/gdb/debugger.h"
#include "replayer/gdb/live.h"
#include "replayer/gdb/server.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/recording.h"
#include "tools/tool.h"

#define GDB_ARGS_MAX 128
#define SAID_MAX 512
#define IDLE_MAX_NS                                                                                                    \
	50000000ull /* a guest that waits for a key, and gdb's interrupt: the latter is heard after so long */

extern char **environ;

struct debug_cli {
	char *socket, *port, *listen, *command, *gdb, *memory;
	char **symbols;
	int no_gdb, batch, print_script;
	int live, force;
	char *output, *budget;
	struct machine_options machine;

	uint16_t port_number;
	uint64_t checkpoint_bytes;
	struct gdb_server *server;
	const struct gdb_target *target;
	struct debugger *debugger; /* of a trace */
	struct session session;    /* of a live guest */
	char said[SAID_MAX];       /* by it, an unfinished line */
	size_t said_len;
	int wake_fd, signal_fd;
	pid_t gdb_pid;   /* 0: none runs */
	int gdb_status;  /* as wait() has it */
	char folder[64]; /* of our own files; empty: none was made */
	char socket_path[80], script_path[80];
};

static const struct usage usage = {
	.command = "ringside debug",
	.arguments = "TRACE | --live GUEST",
	.about =
	        "Debugs a recording in gdb, forward and backward: reverse-stepi, reverse-step, reverse-next, "
	        "reverse-finish, reverse-continue,\n"
	        "watchpoints in both directions, and `monitor help` for what only a recording can answer. Starts gdb "
	        "unless told otherwise.\n"
	        "--live runs a guest under gdb instead, forward only, and records it (" RECORDING_TRACE "): memory and "
	        "registers can be changed, and\n"
	        "the recording replays with the changes. After `detach` the guest runs on to its end, otherwise it "
	        "ends with gdb.",
	.examples = "  ringside debug --symbols kernel.elf ringside.trace\n"
	            "  ringside debug --symbols kernel.elf --command find-bug.gdb --batch ringside.trace\n"
	            "  ringside debug --live --symbols kernel.elf -o new.trace kernel.elf\n"
	            "  ringside debug --no-gdb --port 1234 ringside.trace      (then: gdb -ex 'target remote "
	            "127.0.0.1:1234')\n"
	            "  ringside debug --print-commands > ringside.gdb          (what gdb is given besides: source it "
	            "in a gdb of your own)",
	.min_args = 0,
	.max_args = 1,
};

/*
 * gdb keeps what it read of registers and memory until the program runs; a monitor command that goes elsewhere is not seen as that, so it is made to
 * forget after each. The commands beside `monitor` take expressions and show where one is afterwards.
 */
static const char gdb_script[] =
        "# what `ringside debug` gives to gdb\n"
        "set remotetimeout 86400\n" /* a question may take its time */
        "define hookpost-monitor\n"
        "  pipe maintenance flush register-cache | cat >/dev/null\n"
        "  pipe maintenance flush dcache | cat >/dev/null\n"
        "end\n"
        "define when\n  monitor where\nend\n"
        "document when\nThe present moment of the recording: icount, event, virtual time, privilege level.\nend\n"
        "define goto\n"
        "  if $argc == 1\n    monitor goto $arg0\n  else\n    monitor goto $arg0 $arg1\n  end\n"
        "  frame\n"
        "end\n"
        "document goto\ngoto ICOUNT | event N | marker TEXT | console-line N | bookmark NAME | begin | end: go "
        "there.\nend\n"
        /* gdb splits arguments at spaces: a cast or a sum may be several */
        "define last-write\n"
        "  if $argc == 1\n"
        "    eval \"monitor last-write 0x%x %u\", (unsigned int)&($arg0), (unsigned int)sizeof($arg0)\n"
        "  end\n"
        "  if $argc == 2\n"
        "    eval \"monitor last-write 0x%x %u\", (unsigned int)&($arg0 $arg1), (unsigned int)sizeof($arg0 $arg1)\n"
        "  end\n"
        "  if $argc == 3\n"
        "    eval \"monitor last-write 0x%x %u\", (unsigned int)&($arg0 $arg1 $arg2), "
        "(unsigned int)sizeof($arg0 $arg1 $arg2)\n"
        "  end\n"
        "  if $argc == 4\n"
        "    eval \"monitor last-write 0x%x %u\", (unsigned int)&($arg0 $arg1 $arg2 $arg3), "
        "(unsigned int)sizeof($arg0 $arg1 $arg2 $arg3)\n"
        "  end\n"
        "  if $argc == 5\n"
        "    eval \"monitor last-write 0x%x %u\", (unsigned int)&($arg0 $arg1 $arg2 $arg3 $arg4), "
        "(unsigned int)sizeof($arg0 $arg1 $arg2 $arg3 $arg4)\n"
        "  end\n"
        "  frame\n"
        "end\n"
        "document last-write\nlast-write EXPRESSION: go back to the instruction that last wrote the variable or memory "
        "that "
        "this names.\nThe expression may have four spaces.\nend\n"
        "define last-exec\n"
        "  eval \"monitor last-exec 0x%x\", (unsigned int)($arg0)\n"
        "  frame\n"
        "end\n"
        "document last-exec\nlast-exec ADDRESS: go back to when the instruction at this address was last executed. A "
        "function's name is an address.\nend\n"
        "define first-value\n"
        "  eval \"monitor first-value 0x%x %u %u\", (unsigned int)&($arg0), (unsigned int)($arg1), (unsigned "
        "int)sizeof($arg0)\n"
        "  frame\n"
        "end\n"
        "document first-value\nfirst-value EXPRESSION VALUE: go to the first moment of all at which this had that "
        "value.\nend\n"
        "define became\n"
        "  eval \"monitor became 0x%x %u %u\", (unsigned int)&($arg0), (unsigned int)($arg1), (unsigned "
        "int)sizeof($arg0)\n"
        "  frame\n"
        "end\n"
        "document became\nbecame EXPRESSION VALUE: go back to the instruction by which this last became that "
        "value.\nend\n"
        "define events\n"
        "  if $argc == 0\n    monitor events\n  else\n    monitor events $arg0\n  end\n"
        "end\n"
        "document events\nevents [N]: the recorded events around the present moment.\nend\n"
        "define why-interrupt\n  monitor why-interrupt\nend\n"
        "document why-interrupt\nThe last external interrupt before the present moment, and what is known of why it "
        "came.\nend\n";

/* ---- files of our own -------------------------------------------------------------------------------------- */

static int make_folder(struct debug_cli *cli)
{
	const char *base = getenv("TMPDIR");

	if (cli->folder[0])
		return OPTIONS_GO;
	if (!base || strlen(base) > 40)
		base = "/tmp";
	snprintf(cli->folder, sizeof(cli->folder), "%s/ringside-XXXXXX", base);
	if (!mkdtemp(cli->folder)) {
		int status = tool_error(TOOL_HOST, "%s: %s", cli->folder, strerror(errno));

		cli->folder[0] = 0;
		return status;
	}
	return OPTIONS_GO;
}

static int write_script(struct debug_cli *cli)
{
	int status = make_folder(cli);
	FILE *f;

	if (status != OPTIONS_GO)
		return status;
	snprintf(cli->script_path, sizeof(cli->script_path), "%s/commands.gdb", cli->folder);
	f = fopen(cli->script_path, "we");
	if (!f || fputs(gdb_script, f) < 0 || fclose(f))
		return tool_error(TOOL_HOST, "%s: %s", cli->script_path, strerror(errno));
	return OPTIONS_GO;
}

static void remove_files(struct debug_cli *cli)
{
	if (!cli->folder[0])
		return;
	if (cli->script_path[0])
		unlink(cli->script_path);
	rmdir(cli->folder);
}

/* ---- gdb --------------------------------------------------------------------------------------------------- */

/* A gdb command with one argument in quotes, for -ex. NULL when out of memory. */
static char *quoted(const char *command, const char *argument)
{
	char *out = malloc(strlen(command) + 2 * strlen(argument) + 4), *p = out;

	if (!out)
		return NULL;
	p = stpcpy(p, command);
	*p++ = ' ';
	*p++ = '"';
	for (; *argument; *p++ = *argument++)
		if (*argument == '"' || *argument == '\\')
			*p++ = '\\';
	*p++ = '"';
	*p = 0;
	return out;
}

/* The first symbol file is gdb's program; others are added. `made` are strings to free. */
static size_t gdb_arguments(const struct debug_cli *cli, const char *connect, const char *argv[GDB_ARGS_MAX],
                            char *made[GDB_ARGS_MAX])
{
	size_t n = 0, count = 0;

	argv[n++] = NULL; /* the program's name */
	argv[n++] = "-q";
	if (cli->batch)
		argv[n++] = "-batch";
	argv[n++] = "-x";
	argv[n++] = cli->script_path;
	for (char **s = cli->symbols; s && *s && n < GDB_ARGS_MAX - 8; s++) {
		if (s == cli->symbols)
			continue;
		made[count] = quoted("add-symbol-file", *s);
		argv[n++] = "-ex";
		argv[n++] = made[count] ? made[count] : "";
		count++;
	}
	argv[n++] = "-ex";
	argv[n++] = connect;
	if (cli->command) {
		argv[n++] = "-x";
		argv[n++] = cli->command;
	}
	if (cli->symbols && *cli->symbols)
		argv[n++] = *cli->symbols;
	argv[n] = NULL;
	return count;
}

static int spawn_gdb(struct debug_cli *cli, const char **argv)
{
	const char *const names[] = { cli->gdb ? cli->gdb : "gdb", cli->gdb ? NULL : "gdb-multiarch", NULL };
	posix_spawnattr_t attributes;
	sigset_t none;
	int rc = ENOENT;

	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attributes, &none);
	for (size_t i = 0; rc == ENOENT && names[i]; i++) {
		argv[0] = names[i];
		rc = posix_spawnp(&cli->gdb_pid, names[i], NULL, &attributes, (char *const *)argv, environ);
	}
	posix_spawnattr_destroy(&attributes);
	if (!rc)
		return OPTIONS_GO;
	cli->gdb_pid = 0;
	return tool_error(TOOL_HOST, "%s: %s; install gdb, or use --no-gdb and connect one of your own", names[0],
	                  strerror(rc));
}

static int start_gdb(struct debug_cli *cli)
{
	const char *argv[GDB_ARGS_MAX];
	char *made[GDB_ARGS_MAX], connect[160];
	size_t count;
	int status = write_script(cli);

	if (status != OPTIONS_GO)
		return status;
	snprintf(connect, sizeof(connect), "target remote %s", gdb_server_address(cli->server));
	count = gdb_arguments(cli, connect, argv, made);
	status = spawn_gdb(cli, argv);
	while (count)
		free(made[--count]);
	return status;
}

/* ---- serving ----------------------------------------------------------------------------------------------- */

static bool interrupted(void *self)
{
	struct debug_cli *cli = self;

	return gdb_server_interrupted(cli->server);
}

static void notice(void *self, const char *text)
{
	(void)self;
	fprintf(stderr, "ringside: debug: %s\n", text);
}

/* SIGINT ends a server without a gdb of its own; with one, it is gdb's. */
static int watch_signals(struct debug_cli *cli)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (!cli->no_gdb)
		sigdelset(&set, SIGINT);
	cli->signal_fd = cli->wake_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return cli->signal_fd < 0 ? tool_error(TOOL_HOST, "signalfd: %s", strerror(errno)) : OPTIONS_GO;
}

/* True when it is time to end: gdb ended, or somebody ended us. */
static bool heard_the_end(struct debug_cli *cli)
{
	struct signalfd_siginfo info;
	bool end = false;

	while (read(cli->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo != SIGCHLD)
			end = true;
		else if (cli->gdb_pid && waitpid(cli->gdb_pid, &cli->gdb_status, WNOHANG) == cli->gdb_pid) {
			cli->gdb_pid = 0;
			end = true;
		}
	}
	return end;
}

/* A gdb that says "kill" on quitting is still running: it is waited for. */
static int serve(struct debug_cli *cli)
{
	struct vm_error err;
	int rc;

	do {
		rc = gdb_server_run(cli->server, cli->target, &err);
		if (rc)
			return tool_fail(rc, &err);
	} while (!heard_the_end(cli) && !cli->no_gdb);
	if (cli->gdb_pid) {
		kill(cli->gdb_pid, SIGTERM);
		waitpid(cli->gdb_pid, &cli->gdb_status, 0);
		return TOOL_INTERRUPTED;
	}
	if (cli->debugger && debugger_diverged(cli->debugger))
		return TOOL_DIVERGED;
	if (cli->no_gdb)
		return TOOL_OK;
	return WIFEXITED(cli->gdb_status) && !WEXITSTATUS(cli->gdb_status) ? TOOL_OK : TOOL_GUEST_FAILED;
}

static int open_server(struct debug_cli *cli)
{
	struct gdb_server_options options = {
		.socket_path = cli->socket,
		.address = cli->listen,
		.port = cli->port_number,
		.wake_fd = cli->wake_fd,
		.end_on_detach = cli->live && cli->no_gdb,
		.notice = notice,
	};
	struct vm_error err;
	int status, rc;

	if (!cli->socket && !cli->port) {
		status = make_folder(cli);
		if (status != OPTIONS_GO)
			return status;
		snprintf(cli->socket_path, sizeof(cli->socket_path), "%s/gdb.sock", cli->folder);
		options.socket_path = cli->socket_path;
	}
	rc = gdb_server_open(&cli->server, &options, &err);
	return rc ? tool_error(TOOL_HOST, "%s", err.text) : OPTIONS_GO;
}

static int debug_target(struct debug_cli *cli)
{
	int status = OPTIONS_GO;

	if (cli->no_gdb) {
		printf("ringside: debug: waiting for gdb: target remote %s\n", gdb_server_address(cli->server));
		fflush(stdout);
	} else {
		status = start_gdb(cli);
	}
	return status == OPTIONS_GO ? serve(cli) : status;
}

static int debug_trace(struct debug_cli *cli, const char *path)
{
	const struct debugger_options options = { .memory_checkpoints = cli->checkpoint_bytes,
		                                  .interrupted = interrupted,
		                                  .self = cli };
	struct trace_reader *reader;
	struct vm_error err;
	int status, rc = tool_open_replay(&reader, path, &err);

	if (rc)
		return tool_fail(rc, &err);
	status = open_server(cli);
	if (status == OPTIONS_GO) {
		rc = debugger_open(&cli->debugger, reader, &options, &err);
		status = rc ? tool_fail(rc, &err) : OPTIONS_GO;
	}
	if (status == OPTIONS_GO) {
		cli->target = debugger_target(cli->debugger);
		status = debug_target(cli);
	}
	debugger_close(cli->debugger);
	trace_reader_close(reader);
	return status;
}

/* ---- a running guest --------------------------------------------------------------------------------------- */

/* What the guest printed, to whoever debugs it; without a debugger to stdout. */
static void show_said(void *self)
{
	struct debug_cli *cli = self;

	if (cli->said_len && !gdb_server_say(cli->server, cli->said, cli->said_len)) {
		fwrite(cli->said, 1, cli->said_len, stdout);
		fflush(stdout);
	}
	cli->said_len = 0;
}

static void guest_says(void *self, const uint8_t *bytes, size_t len)
{
	struct debug_cli *cli = self;

	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '\r')
			continue;
		cli->said[cli->said_len++] = (char)bytes[i];
		if (bytes[i] == '\n' || cli->said_len == SAID_MAX)
			show_said(cli);
	}
}

static int debug_vm(struct debug_cli *cli)
{
	const struct live_options options = { .interrupted = interrupted, .pause = show_said, .self = cli };
	struct vm_error err;
	struct live *live;
	int status = open_server(cli);
	int rc;

	if (status != OPTIONS_GO)
		return status;
	rc = live_open(&live, cli->session.vm, &options, &err);
	if (rc)
		return tool_fail(rc, &err);
	cli->target = live_target(live);
	status = debug_target(cli);
	live_close(live);
	return status;
}

/* The guest runs on after a detach; otherwise its recording ends where the debugger left it. */
static int debug_recorded(struct debug_cli *cli, struct recording *recording)
{
	int status, ended;

	cli->session.pausable = true;
	status = debug_vm(cli);
	cli->session.pausable = false;
	cli->session.quit = status != TOOL_OK || !gdb_server_detached(cli->server);
	ended = recording_finish(recording, &cli->machine);
	show_said(cli);
	if (status != TOOL_OK || (cli->session.quit && ended == TOOL_INTERRUPTED))
		return status;
	return ended;
}

static int debug_live(struct debug_cli *cli, const char *guest)
{
	const struct recording_options options = {
		.machine = &cli->machine, .path = cli->output, .force = cli->force, .budget = cli->budget
	};
	bool keyboard = cli->no_gdb && cli->machine.serial && !strcmp(cli->machine.serial, "stdio");
	struct recording recording;
	struct vm_config config;
	int status;

	cli->machine.debugged = !keyboard;
	cli->machine.idle_max_ns = IDLE_MAX_NS;
	status = machine_options_config(&cli->machine, &config);
	if (status != OPTIONS_GO)
		return status;
	status = session_open(&cli->session, &cli->machine, &config, guest);
	if (status == OPTIONS_GO && keyboard)
		cli->wake_fd = console_end_fd(cli->session.console);
	if (status == OPTIONS_GO)
		status = recording_open(&recording, &options, &cli->session, &config);
	if (status == OPTIONS_GO) {
		if (!cli->machine.serial) {
			recording.console = guest_says;
			recording.self = cli;
		}
		status = debug_recorded(cli, &recording);
	}
	session_close(&cli->session);
	return status;
}

static bool describes_guest(const struct debug_cli *cli)
{
	const struct machine_options *m = &cli->machine;

	return m->initrd || m->append || m->modules || m->memory || m->model || m->sensitive || m->engine.engine ||
	       m->trap || m->clock || m->serial || m->limit || m->mark || m->perf || cli->output || cli->force ||
	       cli->budget;
}

static int check(struct debug_cli *cli)
{
	uint64_t port = 0;

	if (cli->socket && cli->port)
		return tool_error(TOOL_USAGE, "--socket and --port: one of them");
	if (cli->listen && !cli->port)
		return tool_error(TOOL_USAGE, "--listen %s: needs --port", cli->listen);
	if (cli->port && (!tool_parse_count(cli->port, &port) || port > UINT16_MAX))
		return tool_error(TOOL_USAGE, "--port %s: must be 0 to 65535, 0 for any that is free", cli->port);
	if (cli->memory && !tool_parse_size(cli->memory, &cli->checkpoint_bytes))
		return tool_error(TOOL_USAGE, "--checkpoint-memory %s: must be a size", cli->memory);
	if (cli->no_gdb && (cli->command || cli->batch || cli->gdb || cli->symbols))
		return tool_error(TOOL_USAGE,
		                  "--no-gdb: --gdb, --symbols, --command and --batch are for the gdb that is started");
	if (tool_lockstep(&cli->machine.engine, &(struct lockstep_options){ 0 }))
		return tool_error(TOOL_USAGE, "--engine lockstep: goes with run, record and replay");
	if (!cli->live && describes_guest(cli))
		return tool_error(
		        TOOL_USAGE,
		        "a recording says what machine it is: options that describe one, and -o, need --live");
	for (char **s = cli->symbols; s && *s; s++)
		if (access(*s, R_OK))
			return tool_error(TOOL_BAD_INPUT, "%s: %s", *s, strerror(errno));
	if (cli->command && access(cli->command, R_OK))
		return tool_error(TOOL_BAD_INPUT, "%s: %s", cli->command, strerror(errno));
	cli->port_number = (uint16_t)port;
	return OPTIONS_GO;
}

static int run(struct debug_cli *cli, const char *path)
{
	int status = check(cli);

	if (status != OPTIONS_GO)
		return status;
	status = watch_signals(cli);
	if (status == OPTIONS_GO)
		status = cli->live ? debug_live(cli, path) : debug_trace(cli, path);
	gdb_server_close(cli->server);
	if (cli->signal_fd >= 0)
		close(cli->signal_fd);
	remove_files(cli);
	return status;
}

int cmd_debug(int argc, const char **argv)
{
	struct debug_cli cli = { .wake_fd = -1, .signal_fd = -1 };
	struct poptOption machine[MACHINE_OPTIONS_ROOM];
	const struct poptOption table[] = {
		{ "symbols", 0, POPT_ARG_ARGV, &cli.symbols, 0,
		  "The guest's kernel as ELF, or what `ringside symbols` made; may be repeated", "FILE" },
		{ "command", 0, POPT_ARG_STRING, &cli.command, 0, "gdb commands to run once connected", "FILE" },
		{ "batch", 0, POPT_ARG_NONE, &cli.batch, 0, "gdb ends after them", NULL },
		{ "gdb", 0, POPT_ARG_STRING, &cli.gdb, 0, "The gdb to start (gdb, gdb-multiarch)", "PROGRAM" },
		{ "no-gdb", 0, POPT_ARG_NONE, &cli.no_gdb, 0, "Start none: serve until interrupted", NULL },
		{ "socket", 0, POPT_ARG_STRING, &cli.socket, 0,
		  "Serve on this Unix socket (one in a folder of its own)", "PATH" },
		{ "port", 0, POPT_ARG_STRING, &cli.port, 0, "Serve on this TCP port of 127.0.0.1", "N" },
		{ "listen", 0, POPT_ARG_STRING, &cli.listen, 0,
		  "With --port: on this address; whoever reaches it can read all of the guest", "ADDR" },
		{ "checkpoint-memory", 0, POPT_ARG_STRING, &cli.memory, 0,
		  "Memory for checkpoints while debugging (256M)", "SIZE" },
		{ "live", 0, POPT_ARG_NONE, &cli.live, 0, "Debug a guest while it runs, and record it", NULL },
		{ NULL, 'o', POPT_ARG_STRING, &cli.output, 0, "--live: the trace to write (" RECORDING_TRACE ")",
		  "TRACE" },
		{ "force", 'f', POPT_ARG_NONE, &cli.force, 0, "--live: replace an existing trace", NULL },
		{ "checkpoint-budget", 0, POPT_ARG_STRING, &cli.budget, 0,
		  "--live: let checkpoints make the trace grow by so much at most", "PERCENT" },
		{ "print-commands", 0, POPT_ARG_NONE, &cli.print_script, 0,
		  "Print the gdb commands that come with this", NULL },
		{ NULL, 0, POPT_ARG_INCLUDE_TABLE, machine, 0, "--live: the machine:", NULL },
		POPT_TABLEEND,
	};
	struct options options;
	int status;

	machine_options_table(&cli.machine, machine);
	status = options_parse(&options, argc, argv, table, &usage);

	if (status == OPTIONS_GO && cli.print_script)
		status = fputs(gdb_script, stdout) < 0 ? TOOL_HOST : TOOL_OK;
	else if (status == OPTIONS_GO && !options.arg_count)
		status = tool_error(TOOL_USAGE, "an argument is missing: TRACE, or --live GUEST");
	else if (status == OPTIONS_GO)
		status = run(&cli, options.args[0]);
	options_close(&options);
	return status;
}
