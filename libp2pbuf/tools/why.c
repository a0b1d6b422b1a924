// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * p2pbuf why: which path leads from an importer to an exporter's BAR, told
 * from the topology.
 *
 * 1. The parents of both functions in sysfs; the first one they share is the
 *    common port. Without one, requests go through the host bridge.
 * 2. Below the common port, on both sides, ACS (PCIe 6.0 section 7.7.11) can
 *    redirect peer requests upstream: then they go through the host bridge,
 *    too. Each such function is named, with its bits.
 * 3. Whether a host bridge sends a request down again is known for AMD since
 *    Zen and for those in the kernel's list.
 * 4. An IOMMU that translates does not see what a switch routes. Under a
 *    hypervisor it does, and the request is lost.
 *
 * It is what the kernel will say about an exporter that gives honest
 * addresses. The modules look at each address of a mapping; this looks at none.
 */

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "why.h"
#include "why_pci.h"

#define ACS_REDIRECT	(PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC)
#define ANY_DEVICE	0x10000

/*
 * Host bridges that forward between their root ports, as Linux 7.3 knows them
 * (drivers/pci/p2pdma.c, pci_p2pdma_whitelist). @same: only between ports of
 * one host bridge.
 */
static const struct host_entry {
	unsigned int vendor;
	unsigned int device;
	bool same;
} host_list[] = {
	{ 0x8086, 0x3c00, true },	/* Xeon E5, Core i7 */
	{ 0x8086, 0x3c01, true },
	{ 0x8086, 0x2f00, true },	/* Xeon E7 v3, Xeon E5 v3 */
	{ 0x8086, 0x2f01, true },
	{ 0x8086, 0x2030, false },	/* Skylake-E */
	{ 0x8086, 0x2031, false },
	{ 0x8086, 0x2032, false },
	{ 0x8086, 0x2033, false },
	{ 0x8086, 0x2020, false },
	{ 0x8086, 0x09a2, false },	/* Ice Lake-SP and later Xeons */
	{ 0x8086, 0x0b25, false },	/* DSA, IAX and QAT of Xeons: */
	{ 0x8086, 0x0cfe, false },	/* the first function on their bus */
	{ 0x8086, 0x11fb, false },
	{ 0x8086, 0x1212, false },
	{ 0x8086, 0x1216, false },
	{ 0x8086, 0x4940, false },
	{ 0x8086, 0x4942, false },
	{ 0x8086, 0x4944, false },
	{ 0x8086, 0x4946, false },
	{ 0x8086, 0x4948, false },
	{ 0x1ae0, ANY_DEVICE, false },	/* Google */
	{ 0x10de, 0x2f95, false },	/* NVIDIA processors */
	{ 0x10de, 0x2f96, false },
	{ 0x10de, 0x2f97, false },
	{ 0x10de, 0x2f98, false },
};

enum answer { NO, YES, UNKNOWN };

struct cpu {
	bool amd;
	int family;
	bool hypervisor;
};

/**
 * struct why - what was found out
 * @below: in each chain, how many functions are below the common port
 * @top: the common port, or NULL
 * @redirectors: names of functions that redirect, with ';' between them
 * @unreadable: a function whose ACS could not be read, or NULL
 * @asleep: a function that does not decode memory, or NULL
 * @translates: the importer's addresses go through an IOMMU
 * @forwards: the host bridge does
 */
struct why {
	struct pci_chain exporter;
	struct pci_chain importer;
	int below[2];
	const char *top;
	char redirectors[PCI_DEPTH * PCI_NAME_LEN];
	const char *unreadable;
	const char *asleep;
	struct cpu cpu;
	bool translates;
	enum answer forwards;
	FILE *out;
};

static void cpu_read(struct cpu *cpu)
{
	char path[PCI_PATH_LEN], *line = NULL;
	size_t size = 0;
	FILE *f;

	*cpu = (struct cpu){ };
	snprintf(path, sizeof(path), "%s/proc/cpuinfo", pci_root);
	f = fopen(path, "re");
	if (!f)
		return;
	/* The first processor tells of all. */
	while (getline(&line, &size, f) > 0 && *line != '\n') {
		const char *value = strchr(line, ':');

		if (!value)
			continue;
		if (!strncmp(line, "vendor_id", 9))
			cpu->amd = strstr(value, "AuthenticAMD");
		else if (!strncmp(line, "cpu family", 10))
			cpu->family = atoi(value + 1);
		else if (!strncmp(line, "flags", 5))
			cpu->hypervisor = strstr(value, " hypervisor");
	}
	free(line);
	fclose(f);
}

static void find_common_port(struct why *w)
{
	int a, b;

	w->below[0] = w->exporter.n;
	w->below[1] = w->importer.n;
	for (a = 0; a < w->exporter.n; a++)
		for (b = 0; b < w->importer.n; b++) {
			if (strcmp(w->exporter.bdf[a], w->importer.bdf[b]))
				continue;
			w->below[0] = a;
			w->below[1] = b;
			w->top = w->exporter.bdf[a];
			return;
		}
}

static const char *kind_of(const char *bdf)
{
	static const char * const kinds[] = {
		[PCI_EXP_TYPE_ENDPOINT] = "endpoint",
		[PCI_EXP_TYPE_LEG_END] = "endpoint",
		[PCI_EXP_TYPE_ROOT_PORT] = "root port",
		[PCI_EXP_TYPE_UPSTREAM] = "switch, upstream",
		[PCI_EXP_TYPE_DOWNSTREAM] = "switch, downstream",
		[PCI_EXP_TYPE_PCI_BRIDGE] = "bridge to PCI",
		[PCI_EXP_TYPE_PCIE_BRIDGE] = "bridge to PCIe",
		[PCI_EXP_TYPE_RC_END] = "root complex function",
		[PCI_EXP_TYPE_RC_EC] = "event collector",
	};
	int type = pci_express_type(bdf);

	if (type >= 0 && type < (int)(sizeof(kinds) / sizeof(kinds[0])) &&
	    kinds[type])
		return kinds[type];
	return pci_number(bdf, "class") >> 16 == 6 ? "bridge" : "function";
}

/* A virtual function answers when its physical function lets it. */
static bool decodes(const char *bdf)
{
	char physical[PCI_NAME_LEN];
	uint16_t command;

	if (pci_link_name(bdf, "physfn", physical, sizeof(physical)))
		bdf = physical;
	return pci_read16(bdf, PCI_COMMAND, &command) ||
	       (command != 0xffff && command & PCI_COMMAND_MEMORY);
}

static void note_redirector(struct why *w, const char *bdf)
{
	size_t n = strlen(w->redirectors);

	snprintf(w->redirectors + n, sizeof(w->redirectors) - n, "%s%s",
		 n ? ";" : "", bdf);
}

/* What ACS does to peer requests at @bdf; counts when @below the common port. */
static void tell_acs(struct why *w, const char *bdf, bool below)
{
	int where = pci_ext_capability(bdf, PCI_EXT_CAP_ID_ACS);
	uint16_t ctrl = 0;

	if (where > 0 && pci_read16(bdf, where + PCI_ACS_CTRL, &ctrl))
		where = -EACCES;
	if (where < 0) {
		fprintf(w->out, "ACS unknown (needs root)");
		if (below && !w->unreadable)
			w->unreadable = bdf;
		return;
	}
	if (!where) {
		fprintf(w->out, "no ACS");
		return;
	}
	if (!(ctrl & ACS_REDIRECT)) {
		fprintf(w->out, "ACS does not redirect");
		return;
	}
	fprintf(w->out, "ACS redirects:%s%s%s",
		ctrl & PCI_ACS_RR ? " ReqRedir" : "",
		ctrl & PCI_ACS_CR ? " CmpltRedir" : "",
		ctrl & PCI_ACS_EC ? " EgressCtrl" : "");
	if (below)
		note_redirector(w, bdf);
}

static void tell_function(struct why *w, const char *bdf, bool below)
{
	char driver[32];

	fprintf(w->out, "  %s  %04lx:%04lx  %-20s  ", bdf,
		pci_number(bdf, "vendor"), pci_number(bdf, "device"),
		kind_of(bdf));
	tell_acs(w, bdf, below);
	if (pci_link_name(bdf, "driver", driver, sizeof(driver)))
		fprintf(w->out, ", driver %s", driver);
	fprintf(w->out, "\n");
}

static void tell_chain(struct why *w, const char *role,
		       const struct pci_chain *chain, int below)
{
	int i;

	fprintf(w->out, "%s, and what is above it:\n", role);
	/* Requests that share no port go up anyway, redirected or not. */
	for (i = 0; i < below; i++)
		tell_function(w, chain->bdf[i], w->top);
	if (below < chain->n)
		fprintf(w->out, "  %s  common port\n", chain->bdf[below]);
	if (chain != &w->exporter)
		return;
	/* Memory requests come down to the BAR through all of these. */
	for (i = 0; i < chain->n && !w->asleep; i++)
		if (!decodes(chain->bdf[i]))
			w->asleep = chain->bdf[i];
}

static void tell_iommu(struct why *w)
{
	const char *bdf = w->importer.bdf[0];
	char group[16], type[16];

	if (!pci_link_name(bdf, "iommu_group", group, sizeof(group))) {
		fprintf(w->out, "IOMMU: none for %s\n", bdf);
		return;
	}
	if (!pci_text(bdf, "iommu_group/type", type, sizeof(type)))
		strcpy(type, "unknown");
	w->translates = strcmp(type, "identity");
	fprintf(w->out, "IOMMU: %s is in group %s, type %s: %s\n", bdf, group,
		type, w->translates ? "addresses are translated" :
				      "addresses pass unchanged");
}

/* Is the host bridge at @host in the kernel's list? Told, with its ids. */
static enum answer tell_host(struct why *w, const char *host, bool same)
{
	char bdf[PCI_NAME_LEN];
	unsigned long vendor, device;
	const char *text = "not in the kernel's list";
	enum answer answer = NO;
	size_t i;
	int type;

	if (pci_first_on_root_bus(host, bdf)) {
		fprintf(w->out, "host bridge: no function on its root bus\n");
		return NO;
	}
	vendor = pci_number(bdf, "vendor");
	device = pci_number(bdf, "device");
	for (i = 0; i < sizeof(host_list) / sizeof(host_list[0]); i++) {
		const struct host_entry *e = &host_list[i];

		if (e->vendor != vendor ||
		    (e->device != ANY_DEVICE && e->device != device))
			continue;
		answer = !e->same || same ? YES : NO;
		text = answer == YES ? "in the kernel's list" :
			"in the kernel's list for one host bridge only";
		break;
	}
	/* The list speaks of devfn 0 or of a root port, nothing else. */
	type = strcmp(strrchr(bdf, ':'), ":00.0") ? pci_express_type(bdf) :
						    PCI_EXP_TYPE_ROOT_PORT;
	if (answer == YES && type == -EACCES) {
		answer = UNKNOWN;
		text = "maybe in the kernel's list (needs root)";
	} else if (answer == YES && type != PCI_EXP_TYPE_ROOT_PORT) {
		answer = NO;
		text = "not told by its first function";
	}
	fprintf(w->out, "host bridge: %s %04lx:%04lx, %s\n", bdf, vendor,
		device, text);
	return answer;
}

static void tell_forwards(struct why *w)
{
	bool same = !strcmp(w->exporter.host, w->importer.host);
	enum answer other;

	if (w->cpu.amd && w->cpu.family >= 0x17) {
		fprintf(w->out,
			"host bridge: of an AMD processor, family %#x: forwards\n",
			w->cpu.family);
		w->forwards = YES;
		return;
	}
	w->forwards = tell_host(w, w->exporter.host, same);
	if (same)
		return;
	other = tell_host(w, w->importer.host, same);
	if (other == NO || (other == UNKNOWN && w->forwards == YES))
		w->forwards = other;
}

/* Requests go up to the host bridge, for @cause. */
static void verdict_bridge(struct why *w, const char *cause)
{
	if (w->forwards == YES) {
		fprintf(w->out,
			"verdict: bridge: %s, and the host bridge forwards them\n",
			cause);
		return;
	}
	if (w->forwards == UNKNOWN) {
		fprintf(w->out,
			"verdict: unknown: %s; ask again as root whether the host bridge forwards them\n",
			cause);
		return;
	}
	if (*w->redirectors)
		fprintf(w->out,
			"hint: boot with pci=disable_acs_redir=%s (gives up isolation)\n",
			w->redirectors);
	else
		fprintf(w->out,
			"hint: put both devices below one PCIe switch, or use host memory\n");
	fprintf(w->out,
		"verdict: refused: %s, and the host bridge is not known to forward them\n",
		cause);
}

static void verdict(struct why *w)
{
	char cause[128 + sizeof(w->redirectors)];

	if (w->asleep) {
		fprintf(w->out,
			"verdict: refused: %s does not decode memory: no driver, or asleep\n",
			w->asleep);
	} else if (!w->top) {
		verdict_bridge(w, "no port is shared, so requests go to the host bridge");
	} else if (*w->redirectors) {
		snprintf(cause, sizeof(cause), "ACS of %s sends requests up",
			 w->redirectors);
		verdict_bridge(w, cause);
	} else if (w->unreadable) {
		fprintf(w->out,
			"verdict: unknown: bus, or %s if ACS of %s redirects; ask again as root\n",
			w->forwards == YES ? "bridge" : "refused",
			w->unreadable);
	} else if (w->translates && w->cpu.hypervisor) {
		fprintf(w->out,
			"verdict: refused: this virtual machine's IOMMU takes first what %s should route\n",
			w->top);
	} else {
		fprintf(w->out,
			"verdict: bus: %s routes requests from one to the other%s\n",
			w->top, w->translates ?
			", before the IOMMU sees them" : "");
	}
}

static int open_chain(const char *text, struct pci_chain *chain)
{
	char bdf[PCI_NAME_LEN];

	if (pci_name(text, bdf)) {
		fprintf(stderr, "p2pbuf: '%s' is no PCI address like 0000:03:00.0\n",
			text);
		return -EINVAL;
	}
	if (pci_chain(bdf, chain)) {
		fprintf(stderr, "p2pbuf: there is no PCI function %s\n", bdf);
		return -ENODEV;
	}
	return 0;
}

int p2pbuf_why(const char *exporter, const char *importer, FILE *out)
{
	struct why w = { .out = out };
	int ret;

	ret = open_chain(exporter, &w.exporter);
	if (!ret)
		ret = open_chain(importer, &w.importer);
	if (ret)
		return ret;

	cpu_read(&w.cpu);
	find_common_port(&w);
	tell_chain(&w, "exporter", &w.exporter, w.below[0]);
	tell_chain(&w, "importer", &w.importer, w.below[1]);
	tell_iommu(&w);
	fprintf(out, "hypervisor: %s\n", w.cpu.hypervisor ? "yes" : "no");
	tell_forwards(&w);
	verdict(&w);
	return 0;
}
