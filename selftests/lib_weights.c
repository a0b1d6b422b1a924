// SPDX-License-Identifier: GPL-2.0
/*
 * The example load-weights on a real safetensors file on ext4: it must find
 * each tensor's bytes in VRAM, and refuse files whose headers lie.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "p2pbuf_test_lib.h"
#include "p2pbuf_test_file.h"
#include "kselftest_harness.h"

#define PROGRAM		"/examples/load-weights"

static struct ptf_stage stage;

FIXTURE(weights)
{
	char file[128];
	char out[16384];
	int status;
};

FIXTURE_SETUP(weights)
{
	if (access(PROGRAM, X_OK))
		SKIP(return, "no " PROGRAM);
	if (!stage.is_paged)
		SKIP(return, "no paged exporter");
	if (!stage.at[PTF_EXT4][0])
		SKIP(return, "%s", stage.missing[PTF_EXT4]);
	snprintf(self->file, sizeof(self->file), "%s/model.safetensors",
		 stage.at[PTF_EXT4]);
}

FIXTURE_TEARDOWN(weights)
{
	unlink(self->file);
}

#define WEIGHTS_DATA FIXTURE_DATA(weights)

/* Exit status; what it printed, on both streams, goes to @out. */
static int run(WEIGHTS_DATA *self)
{
	char command[256];
	size_t n;
	FILE *f;

	snprintf(command, sizeof(command), PROGRAM " --exporter %s %s 2>&1",
		 stage.region.name, self->file);
	f = popen(command, "re");
	if (!f)
		return -errno;
	n = fread(self->out, 1, sizeof(self->out) - 1, f);
	self->out[n] = '\0';
	self->status = pclose(f);
	return WIFEXITED(self->status) ? WEXITSTATUS(self->status) : -EINTR;
}

/* A file of this header and @size bytes of data behind it. */
static int make(const WEIGHTS_DATA *self, uint64_t said, const char *json,
		uint64_t size)
{
	unsigned char head[8], block[4096];
	uint64_t x = 88172645463325252, done;
	unsigned int i;
	size_t n;
	FILE *f;

	f = fopen(self->file, "we");
	if (!f)
		return -errno;
	for (i = 0; i < 8; i++)
		head[i] = said >> 8 * i;
	fwrite(head, 1, sizeof(head), f);
	fwrite(json, 1, strlen(json), f);
	for (done = 0; done < size; done += sizeof(block)) {
		for (i = 0; i < sizeof(block); i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			block[i] = x;
		}
		n = size - done < sizeof(block) ? size - done : sizeof(block);
		fwrite(block, 1, n, f);
	}
	/* What direct I/O is to read must be on the disk. */
	if (fflush(f) || fsync(fileno(f))) {
		fclose(f);
		return -EIO;
	}
	return fclose(f) ? -errno : 0;
}

/* A tensor of every awkward size, oddly aligned. */
#define GOOD \
	"{\"__metadata__\":{\"format\":\"pt\",\"a\":\"}{\"}," \
	"\"embed.weight\":{\"dtype\":\"F32\",\"shape\":[1024,1024],\"data_offsets\":[0,4194304]}," \
	"\"head\\u002ebias\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[4194304,4194305]}," \
	"\"layers.0.w\" : { \"data_offsets\" : [4194305, 4294305], " \
	"\"shape\" : [ 50000 ], \"dtype\" : \"BF16\" }," \
	"\"empty\":{\"dtype\":\"F16\",\"shape\":[0,7],\"data_offsets\":[4294305,4294305]}," \
	"\"scalar\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[4294305,4294313]}," \
	"\"tail\":{\"dtype\":\"I8\",\"shape\":[333,3],\"data_offsets\":[4294313,4295312]}}"
#define GOOD_BYTES 4295312

TEST_F(weights, good)
{
	const char *expect = getenv("P2PBUF_EXPECT_PATH");
	char json[1024];
	int ret;

	ASSERT_NE(NULL, expect);
	/* Headers are filled up with blanks, so that the data is aligned. */
	ret = snprintf(json, sizeof(json), "%-*s", (int)(sizeof(GOOD) + 7) & ~7,
		       GOOD);
	ASSERT_EQ(0, make(self, ret, json, GOOD_BYTES));
	ret = run(self);
	TH_LOG("%s", self->out);
	if (!strcmp(expect, "refused")) {
		EXPECT_EQ(1, ret);
		EXPECT_NE(NULL, strstr(self->out, "bind: "));
		return;
	}
	EXPECT_EQ(0, ret);
	EXPECT_NE(NULL, strstr(self->out, "6 tensors, 4.1 MiB: all as in the file"));
	EXPECT_NE(NULL, strstr(self->out, "embed.weight F32 4194304 at 0"));
	EXPECT_NE(NULL, strstr(self->out, "head.bias U8 1 at 0x400000"));
	EXPECT_NE(NULL, strstr(self->out, "100 %"));
	EXPECT_NE(NULL, strstr(self->out, "MiB/s"));
	EXPECT_NE(NULL, strstr(self->out, expect));
	EXPECT_EQ(NULL, strstr(self->out, "DIFFERS"));
}

TEST_F(weights, padded_header)
{
	static const char json[] = "{}        ";
	const char *expect = getenv("P2PBUF_EXPECT_PATH");

	ASSERT_NE(NULL, expect);
	ASSERT_EQ(0, make(self, strlen(json), json, 0));
	if (!strcmp(expect, "refused"))
		SKIP(return, "the drive cannot reach the exporter here");
	EXPECT_EQ(0, run(self));
	EXPECT_NE(NULL, strstr(self->out, "0 tensors"));
}

#define T(shape, offsets) \
	"{\"a\":{\"dtype\":\"U8\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

#define OVERLAP \
	"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}," \
	"\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[3,7]}}"

TEST_F(weights, lies)
{
	static const struct {
		const char *json;
		uint64_t said;		/* 0: the truth */
		const char *word;
	} cases[] = {
		{ "{}", 1 << 30, "said to have" },
		{ "{}", -1, "said to have" },
		{ "{}", 3000, "said to have" },
		{ "", 0, "no JSON object" },
		{ "[]", 0, "no JSON object" },
		{ "{", 0, "a string was expected" },
		{ "{\"a", 0, "does not end" },
		{ "{\"a\\", 0, "escape" },
		{ "{\"a\\q\":1}", 0, "escape" },
		{ "{\"\\u12\":1}", 0, "hex digits" },
		{ "{\"\\ud800\":1}", 0, "surrogate" },
		{ "{\"\\u0000\":1}", 0, "zero byte" },
		{ "{\"a\nb\":1}", 0, "control character" },
		{ "{\"a\":1}", 0, "no object" },
		{ "{\"a\":{}}", 0, "a string was expected" },
		{ "{\"a\":{\"dtype\":\"U8\"}}", 0, "without dtype" },
		{ "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", 0, "twice" },
		{ "{\"a\":{\"color\":\"U8\"}}", 0, "unknown" },
		{ "{\"a\":{\"dtype\":\"LONGTYPE\"}}", 0, "too long" },
		{ "{\"a\":{\"dtype\":\"Q3\",\"shape\":[1],\"data_offsets\":[0,1]}}",
		  0, "unknown dtype" },
		{ T("[1]", "[0,2]"), 0, "contradict" },
		{ T("[2]", "[2,1]"), 0, "outside" },
		{ T("[9000]", "[0,9000]"), 0, "outside" },
		{ T("[4294967296,4294967296]", "[0,0]"), 0, "too large" },
		{ T("[4611686018427387904]", "[0,1]"), 0, "contradict" },
		{ T("[9223372036854775808]", "[0,1]"), 0, "too large" },
		{ T("[1]", "[0,99999999999999999999]"), 0, "too large" },
		{ T("[1]", "[0,-1]"), 0, "whole number" },
		{ T("[1.5]", "[0,1]"), 0, "whole number" },
		{ T("[1]", "[0]"), 0, "two numbers" },
		{ T("[1", "[0,1]"), 0, "whole number" },
		{ T("[1}", "[0,1]"), 0, "shape" },
		{ OVERLAP, 0, "share bytes" },
		{ "{} x", 0, "more than one value" },
		{ "{\"__metadata__\":[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]}",
		  0, "too deep" },
		{ "{\"__metadata__\":{\"a\":}}", 0, "a value was expected" },
	};
	char name[400];
	uint64_t said;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		said = cases[i].said;
		if (!said)
			said = strlen(cases[i].json);
		ASSERT_EQ(0, make(self, said, cases[i].json, 1000));
		EXPECT_EQ(1, run(self)) TH_LOG("%s", cases[i].json);
		EXPECT_NE(NULL, strstr(self->out, cases[i].word)) {
			TH_LOG("%s: %s", cases[i].json, self->out);
		}
		EXPECT_NE(NULL, strstr(self->out, "not a safetensors file"));
	}
	memset(name, 'n', sizeof(name));
	memcpy(name, "{\"", 2);
	strcpy(name + sizeof(name) - 6, "\":1}");
	ASSERT_EQ(0, make(self, strlen(name), name, 1000));
	EXPECT_EQ(1, run(self));
	EXPECT_NE(NULL, strstr(self->out, "too long"));
	/* Nothing there at all. */
	ASSERT_EQ(0, truncate(self->file, 5));
	EXPECT_EQ(1, run(self));
	EXPECT_NE(NULL, strstr(self->out, "too short"));
}

/* The harness ends the program by exit(), its cases by _exit(). */
static void unmake(void)
{
	ptf_stage_unmake(&stage);
}

int main(int argc, char **argv)
{
	atexit(unmake);
	ptf_stage_make(&stage, 1u << PTF_EXT4);
	ptk_scale_limits();
	return test_harness_run(argc, argv);
}
