/*
 * cmd_run.c - `ringside run`: a guest, its console, and one closing line.
 */
#include <stdio.h>

#include "tools/commands.h"
#include "tools/session.h"
#include "tools/tool.h"

static const struct usage usage = {
	.command = "ringside run",
	.arguments = "GUEST",
	.about = "Runs a guest kernel deprivileged, without hardware virtualization. GUEST is a Linux bzImage or a "
	         "Multiboot ELF file,\n"
	         "recognised by content. The closing line on stderr says how it ended. The exit status is 0 when the "
	         "guest switched\n"
	         "off or reset, the guest's own value when it used the debug exit port, 1 when it crashed or can never "
	         "wake.",
	.examples = "  ringside run build/guests/demo.elf\n"
	            "  ringside run --initrd initrd.gz --append 'console=ttyS0' --memory 256M vmlinuz\n"
	            "  ringside run --model 0/3/3 --limit 100M --serial none --format json kernel.elf",
	.min_args = 1,
	.max_args = 1,
};

static int run_guest(const struct machine_options *m, const char *guest)
{
	struct session_result result;
	struct session session;
	struct vm_config config;
	int status = machine_options_config(m, &config);

	if (status != OPTIONS_GO)
		return status;
	status = session_open(&session, m, &config, guest);
	if (status == OPTIONS_GO)
		status = session_run(&session, NULL, m->perf, &result);
	session_close(&session);
	if (status != OPTIONS_GO)
		return status;
	session_print(&(struct session_summary){ .result = &result }, options_choice(m->format, "text", "json") == 1);
	return tool_stop_status(&result.stop);
}

int cmd_run(int argc, const char **argv)
{
	struct poptOption table[MACHINE_OPTIONS_ROOM];
	struct machine_options m;
	struct options options;
	int status;

	machine_options_table(&m, table);
	status = options_parse(&options, argc, argv, table, &usage);
	if (status == OPTIONS_GO)
		status = run_guest(&m, options.args[0]);
	options_close(&options);
	return status;
}
