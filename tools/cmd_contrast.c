/*
 * cmd_contrast.c - `ringside contrast`: record one guest in several ways, rounds interleaved, and lay the costs side by side (profiler/contrast.h).
 *
 * The recordings are made in a folder of their own, which goes when the command is done.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "profiler/contrast.h"
#include "profiler/gnuplot.h"
#include "tools/commands.h"
#include "tools/recording.h"
#include "tools/tool.h"

struct contrast_cli {
	struct machine_options machine;
	char *by, *rounds, *rows, *plot;
	char dir[256], trace[300];
	struct progress progress;
};

static const struct usage usage = {
	.command = "ringside contrast",
	.arguments = "GUEST",
	.about = "Records a guest in several ways and says what each costs, side by side, with an answer in a "
	         "sentence:\n"
	         "  --by model   0/1/3 and 0/3/3: what ring 1 buys\n"
	         "  --by trap    interpreter, translator with calls, translator with real faults: the price of "
	         "trap-and-emulate, "
	         "instruction\n"
	         "               by instruction\n"
	         "  --by engine  interpreter and translator\n"
	         "The status is 4 when the guest did not do the same in all ways (but models, which it can tell).",
	.examples = "  ringside contrast --by model build/guests/demo.elf\n"
	            "  ringside contrast --by trap --rounds 5 --plot trap.png build/guests/demo.elf\n"
	            "  ringside contrast --by trap --initrd initrd.gz --append 'console=ttyS0' vmlinuz\n"
	            "  ringside contrast --by engine --format json kernel.elf | jq .figures.median_cpu_ms",
	.min_args = 1,
	.max_args = 1,
};

/* What is set for each way; NULL: as the user said. */
static const struct plan {
	const char *name;
	enum contrast_by by;
	unsigned ways;
	struct {
		const char *name, *model, *engine, *trap;
	} way[CONTRAST_WAYS];
} plans[] = {
	{ "model", CONTRAST_MODEL, 2, { { "0/1/3", "0/1/3", NULL, NULL }, { "0/3/3", "0/3/3", NULL, NULL } } },
	{ "trap",
	  CONTRAST_TRAP,
	  3,
	  { { "interp", NULL, "interp", "call" },
	    { "call", NULL, "translate", "call" },
	    { "fault", NULL, "translate", "fault" } } },
	{ "engine", CONTRAST_ENGINE, 2, { { "interp", NULL, "interp", "call" }, { "translate", NULL, "translate", "call" } } },
};
enum { PLANS = sizeof(plans) / sizeof(*plans) };

static const struct plan *find_plan(const char *name)
{
	for (unsigned i = 0; i < PLANS; i++)
		if (!strcmp(plans[i].name, name))
			return &plans[i];
	return NULL;
}

/* The user must not say what the plan says. */
static int check_plan(const struct plan *plan, const struct machine_options *m)
{
	if (plan->way[0].model && m->model)
		return tool_error(TOOL_USAGE, "--model: --by %s runs all of them", plan->name);
	if (plan->way[0].engine && (m->engine.engine || m->trap))
		return tool_error(TOOL_USAGE, "--engine, --trap: --by %s chooses them", plan->name);
	return OPTIONS_GO;
}

static int take_trace(struct contrast_cli *cli, struct contrast_way *way, unsigned round)
{
	struct trace_reader *reader;
	struct vm_error err;
	int rc = way->profile ? 0 : profile_create(&way->profile, &err);

	rc = rc ? rc : trace_reader_open(&reader, cli->trace, &err);
	if (rc)
		return tool_fail(rc, &err);
	rc = profile_read(way->profile, reader, NULL, NULL, &err);
	way->meta = *trace_reader_meta(reader);
	way->ms[round] = (double)way->meta.run_ns / 1e6;
	trace_reader_close(reader);
	return rc ? tool_fail(rc, &err) : OPTIONS_GO;
}

static int record_session(struct session *s, struct recording *r, struct contrast_way *way, unsigned round)
{
	struct session_result result;
	struct vm_error err;
	int status = session_run(s, &r->observer, false, &result);
	int rc = trace_writer_close(r->writer, s->vm, NULL, &err);

	s->listener = NULL;
	if (rc)
		return tool_error(TOOL_HOST, "%s", err.text);
	way->hardfaults = result.counters.hardfaults;
	way->cpu_ms[round] = (double)result.cpu_ns / 1e6;
	if (status == OPTIONS_GO && result.stop.reason == STOP_INTERRUPTED)
		return TOOL_INTERRUPTED;
	return status;
}

static int record_way(struct contrast_cli *cli, const struct machine_options *m, const char *guest,
                      struct contrast_way *way, unsigned round)
{
	const struct recording_options options = { .machine = m, .path = cli->trace, .force = true, .budget = "0" };
	struct recording recording;
	struct session session;
	struct vm_config config;
	int status = machine_options_config(m, &config);

	if (status != OPTIONS_GO)
		return status;
	status = session_open(&session, m, &config, guest);
	if (status == OPTIONS_GO)
		status = recording_open(&recording, &options, &session, &config);
	if (status == OPTIONS_GO)
		status = record_session(&session, &recording, way, round);
	session_close(&session);
	return status;
}

static char *chosen(const char *planned, char *users)
{
	return planned ? (char *)(uintptr_t)planned : users;
}

static int run_rounds(struct contrast_cli *cli, const struct plan *plan, struct contrast *c, const char *guest)
{
	int status = OPTIONS_GO;

	progress_begin(&cli->progress, "recording");
	for (unsigned i = 0; status == OPTIONS_GO && i < c->rounds * c->ways; i++) {
		unsigned w = i % c->ways;
		struct machine_options m = cli->machine;

		m.model = chosen(plan->way[w].model, m.model);
		m.engine.engine = chosen(plan->way[w].engine, m.engine.engine);
		m.trap = chosen(plan->way[w].trap, m.trap);
		m.serial = m.serial ? m.serial : (char *)(uintptr_t) "none";
		c->way[w].name = plan->way[w].name;
		status = record_way(cli, &m, guest, &c->way[w], i / c->ways);
		if (status == OPTIONS_GO)
			status = take_trace(cli, &c->way[w], i / c->ways);
		progress_show(&cli->progress, (double)(i + 1) / (c->rounds * c->ways));
	}
	progress_end(&cli->progress);
	return status;
}

static int show(const struct contrast_cli *cli, struct contrast *c, size_t rows)
{
	bool json = options_choice(cli->machine.format, "text", "json") == 1;
	struct vm_error err;
	int rc = contrast_make(c, &err);

	if (rc)
		return tool_fail(rc, &err);
	rc = json ? contrast_json(stdout, c, rows) : contrast_text(stdout, c, rows);
	if (rc)
		return tool_error(TOOL_HOST, "stdout: %s", strerror(-rc));
	rc = cli->plot ? contrast_plot(cli->plot, c, &err) : 0;
	if (rc)
		return tool_error(TOOL_HOST, "%s", err.text);
	return c->by == CONTRAST_MODEL || c->same_digest ? TOOL_OK : TOOL_DIVERGED;
}

static int contrast_guest(struct contrast_cli *cli, const struct plan *plan, unsigned rounds, size_t rows,
                          const char *guest)
{
	const char *base = strrchr(guest, '/'), *tmp = getenv("TMPDIR");
	struct contrast *c = calloc(1, sizeof(*c));
	int status;

	if (!c)
		return tool_error(TOOL_HOST, "out of memory");
	*c = (struct contrast){ .by = plan->by, .ways = plan->ways, .rounds = rounds, .guest = base ? base + 1 : guest };
	snprintf(cli->dir, sizeof(cli->dir), "%s/ringside-contrast.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(cli->dir)) {
		free(c);
		return tool_error(TOOL_HOST, "%s: cannot be made", cli->dir);
	}
	snprintf(cli->trace, sizeof(cli->trace), "%s/one.trace", cli->dir);
	status = run_rounds(cli, plan, c, guest);
	if (status == OPTIONS_GO)
		status = show(cli, c, rows);
	contrast_free(c);
	free(c);
	unlink(cli->trace);
	rmdir(cli->dir);
	return status;
}

static int run_contrast(struct contrast_cli *cli, const char *guest)
{
	const struct plan *plan = find_plan(cli->by ? cli->by : "trap");
	uint64_t rounds = 3, rows = 20;
	struct vm_config config;
	int status;

	if (!plan)
		return tool_error(TOOL_USAGE, "--by %s: must be model, trap or engine", cli->by);
	if (cli->rounds && (!tool_parse_count(cli->rounds, &rounds) || !rounds || rounds > CONTRAST_ROUNDS_MAX))
		return tool_error(TOOL_USAGE, "--rounds %s: must be 1 to %d", cli->rounds, CONTRAST_ROUNDS_MAX);
	if (cli->rows && !tool_parse_count(cli->rows, &rows))
		return tool_error(TOOL_USAGE, "--rows %s: must be a number, 0 for all", cli->rows);
	if (cli->plot && !gnuplot_takes(cli->plot))
		return tool_error(TOOL_USAGE, "--plot %s: must end in .png or .svg, or be - for the terminal", cli->plot);
	status = check_plan(plan, &cli->machine);
	if (status == OPTIONS_GO)
		status = machine_options_config(&cli->machine, &config);
	return status == OPTIONS_GO ? contrast_guest(cli, plan, (unsigned)rounds, rows, guest) : status;
}

int cmd_contrast(int argc, const char **argv)
{
	struct poptOption machine[MACHINE_OPTIONS_ROOM];
	struct contrast_cli cli = { .dir = "" };
	const struct poptOption table[] = {
		{ "by", 0, POPT_ARG_STRING, &cli.by, 0, "What to vary (trap)", "model|trap|engine" },
		{ "rounds", 0, POPT_ARG_STRING, &cli.rounds, 0, "Recordings of each way (3)", "N" },
		{ "rows", 0, POPT_ARG_STRING, &cli.rows, 0, "Instructions to show, 0 for all (20)", "N" },
		{ "plot", 0, POPT_ARG_STRING, &cli.plot, 0, "Draw the medians; - is the terminal", "FILE.png|FILE.svg|-" },
		{ NULL, 0, POPT_ARG_INCLUDE_TABLE, machine, 0, "The machine:", NULL },
		POPT_TABLEEND,
	};
	struct options options;
	int status;

	machine_options_table(&cli.machine, machine);
	status = options_parse(&options, argc, argv, table, &usage);
	if (status == OPTIONS_GO)
		status = run_contrast(&cli, options.args[0]);
	options_close(&options);
	return status;
}
