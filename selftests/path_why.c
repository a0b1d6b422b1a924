// SPDX-License-Identifier: GPL-2.0
/*
 * `p2pbuf why`: agrees with the kernel in every topology, says "unknown" and
 * never "none" about what it may not read, and knows hardware that no test
 * machine has, from sysfs trees made here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "../libp2pbuf/tools/why_pci.c"
#include "../libp2pbuf/tools/why.c"

#define NOBODY	65534

/* The text, to be freed; NULL when it failed with *@ret. */
static char *ask(const char *exporter, const char *importer, int *ret)
{
	char *text = NULL;
	size_t size;
	FILE *f;

	*ret = -ENOMEM;
	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	*ret = p2pbuf_why(exporter, importer, f);
	fclose(f);
	printf("# why %s %s: %d\n", exporter, importer, *ret);
	for (char *line = text, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		if (!end)
			break;
		printf("#   %.*s\n", (int)(end - line), line);
	}
	return text;
}

/* The word after "verdict: " on the last line. */
static void verdict_word(const char *text, char *word, size_t size)
{
	const char *last = strstr(text, "\nverdict: "), *next;

	word[0] = '\0';
	if (!last)
		return;
	last += strlen("\nverdict: ");
	next = strchr(last, '\n');
	if (!next || next[1])
		return;
	snprintf(word, size, "%.*s", (int)strcspn(last, ":"), last);
}

#define EXPECT_WORD(_text, _word) do { \
	char _got[16]; \
	verdict_word(_text, _got, sizeof(_got)); \
	EXPECT_STREQ(_word, _got); \
} while (0)

/* ---- this machine ---------------------------------------------------------- */

FIXTURE(here)
{
	const char *exporter;
	const char *importer;
	const char *expect;
};

FIXTURE_SETUP(here)
{
	self->exporter = getenv("P2PBUF_EXPORTER_PCI");
	self->importer = getenv("P2PBUF_NVME_MAIN_PCI");
	self->expect = getenv("P2PBUF_EXPECT_PATH");
	if (!self->exporter || !self->importer || !self->expect)
		SKIP(return, "not told which devices to ask about");
}

FIXTURE_TEARDOWN(here)
{
}

TEST_F(here, agrees_with_the_kernel)
{
	char *text;
	int ret;

	text = ask(self->exporter, self->importer, &ret);
	ASSERT_EQ(0, ret);
	EXPECT_WORD(text, self->expect);
	EXPECT_NE(NULL, strstr(text, "hypervisor: yes"));
	free(text);

	/* lspci leaves the domain out. */
	text = ask(strchr(self->exporter, ':') + 1, self->importer, &ret);
	EXPECT_EQ(0, ret);
	EXPECT_WORD(text, self->expect);
	free(text);
}

TEST_F(here, memory_decode_off)
{
	char path[128], *text;
	__u16 command, off;
	int fd, ret;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config",
		 self->exporter);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(2, pread(fd, &command, 2, PCI_COMMAND));
	off = command & ~PCI_COMMAND_MEMORY;
	ASSERT_EQ(2, pwrite(fd, &off, 2, PCI_COMMAND));
	text = ask(self->exporter, self->importer, &ret);
	ASSERT_EQ(2, pwrite(fd, &command, 2, PCI_COMMAND));
	close(fd);
	ASSERT_EQ(0, ret);
	EXPECT_WORD(text, "refused");
	EXPECT_NE(NULL, strstr(text, "does not decode memory"));
	free(text);
}

/* 64 bytes of config space: enough for some verdicts, never for "bus". */
TEST_F(here, without_root)
{
	const char *topology = getenv("P2PBUF_TOPOLOGY");
	bool one_switch = topology && (!strcmp(topology, "bus") ||
				       !strcmp(topology, "swiotlb") ||
				       !strcmp(topology, "switch-iommu"));
	char *text;
	int ret;

	if (geteuid())
		SKIP(return, "not root to begin with");
	/* The harness runs each test in a process of its own. */
	ASSERT_EQ(0, setgid(NOBODY));
	ASSERT_EQ(0, setuid(NOBODY));
	text = ask(self->exporter, self->importer, &ret);
	ASSERT_EQ(0, ret);
	EXPECT_NE(NULL, strstr(text, "ACS unknown (needs root)"));
	/* Functions without extended config space have no ACS, ports may. */
	EXPECT_EQ(NULL, strstr(text, "bridge                no ACS"));
	EXPECT_WORD(text, one_switch ? "unknown" : self->expect);
	free(text);
}

/* ---- other machines, as trees of files ------------------------------------- */

FIXTURE(tree)
{
	char root[64];
};

static void put(const char *dir, const char *name, const void *data, size_t len)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		exit(KSFT_FAIL);
	close(fd);
}

static void put_text(const char *dir, const char *name, const char *text)
{
	put(dir, name, text, strlen(text));
}

static void make_dirs(const char *path)
{
	char copy[512], *slash;

	snprintf(copy, sizeof(copy), "%s", path);
	for (slash = copy + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(copy, 0755);
		*slash = '/';
	}
	mkdir(copy, 0755);
}

static void config16(__u8 *config, int where, __u16 value)
{
	config[where] = value;
	config[where + 1] = value >> 8;
}

/*
 * A function at "pci0000:00/0000:00:01.0/...", with PCIe and, when @acs is not
 * negative, ACS with these control bits behind another extended capability.
 */
static void add(const char *root, const char *path, __u16 vendor, __u16 device,
		int type, int acs)
{
	char dir[512], link[512], target[512], text[32];
	__u8 config[4096] = { };
	const char *bdf = strrchr(path, '/') + 1;

	config16(config, PCI_VENDOR_ID, vendor);
	config16(config, PCI_DEVICE_ID, device);
	config16(config, PCI_COMMAND, PCI_COMMAND_MEMORY);
	config16(config, PCI_STATUS, PCI_STATUS_CAP_LIST);
	config[PCI_CAPABILITY_LIST] = 0x40;
	config16(config, 0x40, PCI_CAP_ID_PM | 0x80 << 8);
	config16(config, 0x80, PCI_CAP_ID_EXP);
	config16(config, 0x82, 2 | type << 4);
	config16(config, 0x100, PCI_EXT_CAP_ID_ERR);
	config16(config, 0x102, 1 | 0x150 << 4);
	if (acs >= 0) {
		config16(config, 0x150, PCI_EXT_CAP_ID_ACS);
		config16(config, 0x152, 1);
		config16(config, 0x150 + PCI_ACS_CTRL, acs);
	} else {
		config16(config, 0x150, PCI_EXT_CAP_ID_DSN);
		config16(config, 0x152, 1);
	}

	snprintf(dir, sizeof(dir), "%s/sys/devices/%s", root, path);
	make_dirs(dir);
	put(dir, "config", config, sizeof(config));
	snprintf(text, sizeof(text), "%#06x\n", vendor);
	put_text(dir, "vendor", text);
	snprintf(text, sizeof(text), "%#06x\n", device);
	put_text(dir, "device", text);
	put_text(dir, "class", type == PCI_EXP_TYPE_ENDPOINT ? "0x010802\n" :
							       "0x060400\n");
	snprintf(link, sizeof(link), "%s/sys/bus/pci/devices/%s", root, bdf);
	snprintf(target, sizeof(target), "../../../devices/%s", path);
	if (symlink(target, link))
		exit(KSFT_FAIL);
}

/* A switch with two downstream ports below @root_port. */
static void add_switch(const char *root, const char *root_port, int acs)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/0000:01:00.0", root_port);
	add(root, path, 0x10b5, 0x9797, PCI_EXP_TYPE_UPSTREAM, -1);
	snprintf(path, sizeof(path), "%s/0000:01:00.0/0000:02:00.0", root_port);
	add(root, path, 0x10b5, 0x9797, PCI_EXP_TYPE_DOWNSTREAM, acs);
	snprintf(path, sizeof(path), "%s/0000:01:00.0/0000:02:01.0", root_port);
	add(root, path, 0x10b5, 0x9797, PCI_EXP_TYPE_DOWNSTREAM, 0);
	snprintf(path, sizeof(path), "%s/0000:01:00.0/0000:02:00.0/0000:03:00.0",
		 root_port);
	add(root, path, 0x1002, 0x740f, PCI_EXP_TYPE_ENDPOINT, -1);
	snprintf(path, sizeof(path), "%s/0000:01:00.0/0000:02:01.0/0000:04:00.0",
		 root_port);
	add(root, path, 0x144d, 0xa80a, PCI_EXP_TYPE_ENDPOINT, -1);
}

/*
 * Two root ports of the host bridges @a and @b with a function below each. They
 * redirect, as all do where an IOMMU is in use; that changes nothing.
 */
static void add_root_ports(const char *root, const char *a, const char *b)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/0000:00:01.0", a);
	add(root, path, 0x8086, 0x1901, PCI_EXP_TYPE_ROOT_PORT,
	    PCI_ACS_RR | PCI_ACS_CR);
	snprintf(path, sizeof(path), "%s/0000:00:01.0/0000:03:00.0", a);
	add(root, path, 0x1002, 0x740f, PCI_EXP_TYPE_ENDPOINT, -1);
	snprintf(path, sizeof(path), "%s/0000:80:02.0", b);
	add(root, path, 0x8086, 0x1901, PCI_EXP_TYPE_ROOT_PORT,
	    PCI_ACS_RR | PCI_ACS_CR);
	snprintf(path, sizeof(path), "%s/0000:80:02.0/0000:04:00.0", b);
	add(root, path, 0x144d, 0xa80a, PCI_EXP_TYPE_ENDPOINT, -1);
}

static void set_cpu(const char *root, const char *vendor, int family,
		    bool hypervisor)
{
	char dir[128], text[256];

	snprintf(dir, sizeof(dir), "%s/proc", root);
	make_dirs(dir);
	snprintf(text, sizeof(text),
		 "processor\t: 0\nvendor_id\t: %s\ncpu family\t: %d\nmodel\t\t: 1\nflags\t\t: fpu sse%s x2apic\n\n",
		 vendor, family, hypervisor ? " hypervisor" : "");
	put_text(dir, "cpuinfo", text);
}

/* An IOMMU group of this type for the function at @path. */
static void set_group(const char *root, const char *path, const char *type)
{
	char dir[512], link[512];

	snprintf(dir, sizeof(dir), "%s/sys/kernel/iommu_groups/7", root);
	make_dirs(dir);
	put_text(dir, "type", type);
	snprintf(link, sizeof(link), "%s/sys/devices/%s/iommu_group", root,
		 path);
	if (symlink(dir, link))
		exit(KSFT_FAIL);
}

FIXTURE_SETUP(tree)
{
	char dir[128];

	strcpy(self->root, "/tmp/path_why.XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->root));
	snprintf(dir, sizeof(dir), "%s/sys/bus/pci/devices", self->root);
	make_dirs(dir);
	pci_root = self->root;
	set_cpu(self->root, "GenuineIntel", 6, false);
}

FIXTURE_TEARDOWN(tree)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", self->root);
	if (system(command))
		TH_LOG("%s is left", self->root);
}

#define EXPECT_WHY(_word, _phrase) do { \
	int _ret; \
	char *_text = ask("0000:03:00.0", "0000:04:00.0", &_ret); \
	ASSERT_EQ(0, _ret); \
	EXPECT_WORD(_text, _word); \
	EXPECT_NE(NULL, strstr(_text, _phrase)); \
	free(_text); \
} while (0)

#define HOST "pci0000:00/0000:00:00.0"
#define PORT "pci0000:00/0000:00:01.0"

TEST_F(tree, switch_routes)
{
	add(self->root, HOST, 0x8086, 0x1234, PCI_EXP_TYPE_ENDPOINT, -1);
	add(self->root, PORT, 0x8086, 0x1901, PCI_EXP_TYPE_ROOT_PORT, 0x1d);
	add_switch(self->root, PORT, PCI_ACS_SV);
	/* ACS of the root port, above the common port, is of no importance. */
	EXPECT_WHY("bus", "verdict: bus: 0000:01:00.0 routes");
}

TEST_F(tree, acs_redirects)
{
	add(self->root, HOST, 0x8086, 0x1234, PCI_EXP_TYPE_ENDPOINT, -1);
	add(self->root, PORT, 0x8086, 0x1901, PCI_EXP_TYPE_ROOT_PORT, 0);
	add_switch(self->root, PORT, PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR);
	EXPECT_WHY("refused", "ACS redirects: ReqRedir CmpltRedir\n");
	EXPECT_WHY("refused", "pci=disable_acs_redir=0000:02:00.0 ");
	EXPECT_WHY("refused", "0000:00:00.0 8086:1234, not in the kernel's list");
	set_cpu(self->root, "AuthenticAMD", 0x19, false);
	EXPECT_WHY("bridge", "ACS of 0000:02:00.0 sends requests up");
}

TEST_F(tree, egress_control)
{
	add(self->root, HOST, 0x8086, 0x1234, PCI_EXP_TYPE_ENDPOINT, -1);
	add(self->root, PORT, 0x8086, 0x1901, PCI_EXP_TYPE_ROOT_PORT, 0);
	add_switch(self->root, PORT, PCI_ACS_EC);
	EXPECT_WHY("refused", "ACS redirects: EgressCtrl\n");
}

TEST_F(tree, iommu_and_hypervisor)
{
	add(self->root, HOST, 0x8086, 0x1234, PCI_EXP_TYPE_ENDPOINT, -1);
	add(self->root, PORT, 0x8086, 0x1901, PCI_EXP_TYPE_ROOT_PORT, 0);
	add_switch(self->root, PORT, 0);
	set_group(self->root, PORT "/0000:01:00.0/0000:02:01.0/0000:04:00.0",
		  "DMA-FQ\n");
	EXPECT_WHY("bus", "group 7, type DMA-FQ: addresses are translated");
	EXPECT_WHY("bus", "before the IOMMU sees them");
	set_cpu(self->root, "GenuineIntel", 6, true);
	EXPECT_WHY("refused", "this virtual machine's IOMMU takes first");
	set_group(self->root, "pci0000:00/0000:00:00.0", "DMA\n");
	put_text(self->root, "sys/kernel/iommu_groups/7/type", "identity\n");
	EXPECT_WHY("bus", "addresses pass unchanged");
}

TEST_F(tree, processors_that_forward)
{
	add(self->root, HOST, 0x1022, 0x1480, PCI_EXP_TYPE_ENDPOINT, -1);
	add_root_ports(self->root, "pci0000:00", "pci0000:80");
	set_cpu(self->root, "AuthenticAMD", 0x15, false);
	EXPECT_WHY("refused", "hint: put both devices below one PCIe switch");
	set_cpu(self->root, "AuthenticAMD", 0x17, false);
	EXPECT_WHY("bridge", "AMD processor, family 0x17: forwards");
	set_cpu(self->root, "GenuineIntel", 0x17, false);
	EXPECT_WHY("refused", "not known to forward");
}

TEST_F(tree, listed_host_bridge)
{
	add(self->root, HOST, 0x8086, 0x2020, PCI_EXP_TYPE_ENDPOINT, -1);
	add_root_ports(self->root, "pci0000:00", "pci0000:00");
	EXPECT_WHY("bridge", "8086:2020, in the kernel's list");
}

TEST_F(tree, listed_for_one_host_bridge_only)
{
	add(self->root, HOST, 0x8086, 0x2f00, PCI_EXP_TYPE_ENDPOINT, -1);
	add(self->root, "pci0000:80/0000:80:00.0", 0x8086, 0x2f00,
	    PCI_EXP_TYPE_ENDPOINT, -1);
	add_root_ports(self->root, "pci0000:00", "pci0000:80");
	EXPECT_WHY("refused", "in the kernel's list for one host bridge only");
}

TEST_F(tree, listed_on_one_side_only)
{
	add(self->root, HOST, 0x8086, 0x2020, PCI_EXP_TYPE_ENDPOINT, -1);
	add(self->root, "pci0000:80/0000:80:00.0", 0x8086, 0x3420,
	    PCI_EXP_TYPE_ENDPOINT, -1);
	add_root_ports(self->root, "pci0000:00", "pci0000:80");
	EXPECT_WHY("refused", "0000:80:00.0 8086:3420, not in the kernel's list");
}

/* Without a devfn 0 a root port may stand for the host bridge, others not. */
TEST_F(tree, listed_root_port)
{
	add(self->root, "pci0000:00/0000:00:00.1", 0x8086, 0x2030,
	    PCI_EXP_TYPE_ROOT_PORT, -1);
	add_root_ports(self->root, "pci0000:00", "pci0000:00");
	EXPECT_WHY("bridge", "8086:2030, in the kernel's list");
}

TEST_F(tree, listed_endpoint)
{
	add(self->root, "pci0000:00/0000:00:00.1", 0x8086, 0x2030,
	    PCI_EXP_TYPE_RC_END, -1);
	add_root_ports(self->root, "pci0000:00", "pci0000:00");
	EXPECT_WHY("refused", "not told by its first function");
}

/* A VMD endpoint makes a root bus of its own: it is no common port. */
TEST_F(tree, volume_management_device)
{
	add(self->root, HOST, 0x8086, 0x2020, PCI_EXP_TYPE_ENDPOINT, -1);
	add(self->root, "pci0000:00/0000:00:0e.0", 0x8086, 0x201d,
	    PCI_EXP_TYPE_RC_END, -1);
	add(self->root, "pci0000:00/0000:00:0e.0/pci10000:00/10000:00:02.0",
	    0x8086, 0x2030, PCI_EXP_TYPE_ROOT_PORT, 0);
	add(self->root,
	    "pci0000:00/0000:00:0e.0/pci10000:00/10000:00:02.0/0000:04:00.0",
	    0x144d, 0xa80a, PCI_EXP_TYPE_ENDPOINT, -1);
	add(self->root, "pci0000:00/0000:00:0e.0/0000:03:00.0", 0x1002, 0x740f,
	    PCI_EXP_TYPE_ENDPOINT, -1);
	EXPECT_WHY("bridge", "no port is shared");
}

TEST_F(tree, bad_names)
{
	static const char * const bad[] = {
		"", "nvme0", "0000:03:00", "0000:03:00.8", "0000:03:20.0",
		"0000:100:00.0", "03:00.0x", "0x3:00.0", "-3:00.0",
		" 03:00.0", "0000:03:00.0 ", "/dev/nvme0n1", "03:00.0.0",
		"100000003:00.0",
	};
	char *text;
	size_t i;
	int ret;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		text = ask(bad[i], bad[i], &ret);
		EXPECT_EQ(-EINVAL, ret);
		EXPECT_STREQ("", text);
		free(text);
	}
	text = ask("0000:77:00.0", "0000:77:00.0", &ret);
	EXPECT_EQ(-ENODEV, ret);
	free(text);
}

TEST_HARNESS_MAIN
