/*
 * cmd_calibrate.c - `ringside calibrate`: the host's own constants, and what a fault of each privileged instruction costs here.
 */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/calibrate.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/tool.h"
#include "vmm/engine/hardfault.h"

#define SAMPLES_DEFAULT 5000
#define INSN_SAMPLES_DEFAULT 500

struct calibrate_cli {
	char *samples, *format;
	int insns;
};

static const struct usage usage = {
	.command = "ringside calibrate",
	.arguments = "",
	.about = "Measures what this host charges for what a VMM is made of: a fault of the processor that becomes a "
	         "signal, a "
	         "system\n"
	         "call, reading counters, copying memory. Recordings carry the same figures, from fewer samples (the "
	         "fault "
	         "where --trap\n"
	         "fault was given), and profiles quote them. --insns: each instruction of the audit table, whether it "
	         "faults as "
	         "itself\n"
	         "under --trap fault, and what that takes.",
	.examples =
	        "  ringside calibrate\n"
	        "  ringside calibrate --insns\n"
	        "  ringside calibrate --format json | jq '.constants[] | select(.name == \"fault_round_trip\").median'",
	.min_args = 0,
	.max_args = 0,
};

static const char *const kind_names[] = {
	[HARDFAULT_NONE] = "-",
	[HARDFAULT_SELF] = "itself",
	[HARDFAULT_STAND_IN] = "stand-in",
	[HARDFAULT_CALLOUT] = "call-out",
};

/* ---- text ---- */

static void text_figures(const struct calibrated *c, uint64_t hz)
{
	printf(" %9u %9u %9u %9u %7.1f%%", c->min, c->median, c->p95, c->max,
	       c->median ? 100.0 * (c->p75 - c->p25) / c->median : 0);
	if (hz)
		printf(" %10.1f", (double)c->median * 1e9 / (double)hz);
}

static void text_constants(const struct calibration *c, uint64_t hz)
{
	printf("%-26s %9s %9s %9s %9s %8s%s\n", "HOST CONSTANT, cycles", "MIN", "MEDIAN", "P95", "MAX", "SPREAD",
	       hz ? "  MEDIAN ns" : "");
	for (unsigned i = 0; i < c->count; i++) {
		const struct calibrated *one = &c->list[i];

		printf("%-26s", one->title);
		if (one->why)
			printf(" not measured: %s", one->why);
		else
			text_figures(one, hz);
		putchar('\n');
	}
	printf("%u samples of each; spread is the middle half's width over the median\n", c->list[0].samples);
}

static void text_insns(unsigned samples, uint64_t hz)
{
	printf("\n%-26s %9s %9s %9s %9s %8s%s  %s\n", "FAULT, cycles", "MIN", "MEDIAN", "P95", "MAX", "SPREAD",
	       hz ? "  MEDIAN ns" : "", "UNDER --trap fault");
	for (unsigned i = 0; i < hardfault_rule_count; i++) {
		const struct hardfault_rule *rule = &hardfault_rules[i];
		struct calibrated one;

		printf("%-26s", op_name(rule->op));
		if (calibrate_fault(&one, rule->op, samples))
			text_figures(&one, hz);
		else
			printf(" %9s %9s %9s %9s %8s%s", "-", "-", "-", "-", "-", hz ? "          -" : "");
		printf("  %s: %s\n", kind_names[rule->kind], rule->why);
	}
}

/* ---- JSON ---- */

static cJSON *json_one(const struct calibrated *c)
{
	cJSON *item = cJSON_CreateObject();

	cJSON_AddStringToObject(item, "name", c->key);
	if (c->why) {
		cJSON_AddStringToObject(item, "why", c->why);
		return item;
	}
	cJSON_AddNumberToObject(item, "samples", c->samples);
	cJSON_AddNumberToObject(item, "min", c->min);
	cJSON_AddNumberToObject(item, "p25", c->p25);
	cJSON_AddNumberToObject(item, "median", c->median);
	cJSON_AddNumberToObject(item, "p75", c->p75);
	cJSON_AddNumberToObject(item, "p95", c->p95);
	cJSON_AddNumberToObject(item, "max", c->max);
	return item;
}

static void json_insns(cJSON *root, unsigned samples)
{
	cJSON *list = cJSON_AddArrayToObject(root, "insns");

	for (unsigned i = 0; i < hardfault_rule_count; i++) {
		const struct hardfault_rule *rule = &hardfault_rules[i];
		struct calibrated one = { .key = op_name(rule->op), .why = rule->why };
		cJSON *item = json_one(calibrate_fault(&one, rule->op, samples)
		                               ? &one
		                               : &(struct calibrated){ .key = op_name(rule->op), .why = rule->why });

		cJSON_AddStringToObject(item, "kind", kind_names[rule->kind]);
		cJSON_AddItemToArray(list, item);
	}
}

static int print_json(const struct calibration *c, uint64_t hz, bool insns, unsigned samples)
{
	cJSON *root = cJSON_CreateObject(), *list;
	char host[128], *text;

	host_cpu_name(host, sizeof(host));
	cJSON_AddStringToObject(root, "format", "ringside-calibration");
	cJSON_AddNumberToObject(root, "version", 1);
	cJSON_AddStringToObject(root, "host", host);
	cJSON_AddNumberToObject(root, "tsc_hz", (double)hz);
	list = cJSON_AddArrayToObject(root, "constants");
	for (unsigned i = 0; i < c->count; i++)
		cJSON_AddItemToArray(list, json_one(&c->list[i]));
	if (insns)
		json_insns(root, samples);
	text = cJSON_Print(root);
	cJSON_Delete(root);
	if (!text)
		return tool_error(TOOL_HOST, "out of memory");
	puts(text);
	free(text);
	return TOOL_OK;
}

static int run_calibrate(const struct calibrate_cli *cli)
{
	const struct host_moment begin = host_moment();
	uint64_t samples = SAMPLES_DEFAULT, hz;
	struct calibration c;
	unsigned each;

	if (cli->samples && (!tool_parse_count(cli->samples, &samples) || !samples || samples > CALIBRATE_SAMPLES_MAX))
		return tool_error(TOOL_USAGE, "--samples %s: must be 1 to %u", cli->samples, CALIBRATE_SAMPLES_MAX);
	if (options_choice(cli->format, "text", "json") < 0)
		return tool_error(TOOL_USAGE, "--format %s: must be text or json", cli->format);
	if (calibrate(&c, (unsigned)samples, CALIBRATE_ALL))
		return tool_error(TOOL_HOST, "out of memory");
	hz = host_tsc_hz(&begin);
	each = cli->samples ? (unsigned)samples : INSN_SAMPLES_DEFAULT;
	if (options_choice(cli->format, "text", "json") == 1)
		return print_json(&c, hz, cli->insns, each);
	text_constants(&c, hz);
	if (cli->insns)
		text_insns(each, hz);
	return TOOL_OK;
}

int cmd_calibrate(int argc, const char **argv)
{
	struct calibrate_cli cli = { .insns = 0 };
	const struct poptOption table[] = {
		{ "samples", 0, POPT_ARG_STRING, &cli.samples, 0, "Measurements of each (5000; of instructions 500)",
		  "N" },
		{ "insns", 0, POPT_ARG_NONE, &cli.insns, 0, "Also a fault of each instruction", NULL },
		{ "format", 0, POPT_ARG_STRING, &cli.format, 0, "Form of the result (text)", "text|json" },
		OPTIONS_END,
	};
	struct options options;
	int status = options_parse(&options, argc, argv, table, &usage);

	if (status == OPTIONS_GO)
		status = run_calibrate(&cli);
	options_close(&options);
	return status;
}
