// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sends frames through one interface after the other, in turn, and tells what each
// cost. Where both ends of a link are on this machine, a packet is forwarded before
// the call that sent it returns: the thread's own time on a processor is what it took,
// whatever else runs meanwhile.
//
//     sender SECONDS (INTERFACE FILE)...
//
// A file holds frames, two bytes of length (little end first) before each. Of each a
// slice is sent, short enough that what else runs rarely comes in between; a line tells
// the pair's number, and nanoseconds a frame.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { AT_ONCE = 64, SLICE = 512, MOST_FRAMES = 1 << 14, MOST_BYTES = 1 << 24, MOST_PAIRS = 64 };

struct pair {
  int socket;
  struct iovec *frames;
  unsigned count, next;
};

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static int socket_on(const char *interface) {
  int made = socket(AF_PACKET, SOCK_RAW, 0), yes = 1;
  struct sockaddr_ll at = {.sll_family = AF_PACKET};
  at.sll_ifindex = if_nametoindex(interface);
  if (made < 0 || bind(made, (void *)&at, sizeof at)) fail(interface);
  setsockopt(made, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof yes);
  return made;
}

static void read_frames(struct pair *pair, const char *path) {
  FILE *file = fopen(path, "rb");
  unsigned char *bytes = malloc(MOST_BYTES);
  pair->frames = malloc(MOST_FRAMES * sizeof *pair->frames);
  if (!file || !bytes || !pair->frames) fail(path);
  size_t size = fread(bytes, 1, MOST_BYTES, file), at = 0;
  while (at + 2 <= size && pair->count < MOST_FRAMES) {
    unsigned length = bytes[at] | bytes[at + 1] << 8;
    pair->frames[pair->count++] = (struct iovec){bytes + at + 2, length};
    at += 2 + length;
  }
  fclose(file);
}

// The next slice of its frames; nanoseconds each.
static double slice(struct pair *pair) {
  static struct mmsghdr messages[AT_ONCE];
  unsigned sent = 0;
  double begin = now(CLOCK_THREAD_CPUTIME_ID);
  while (sent < SLICE) {
    if (pair->next + AT_ONCE > pair->count) pair->next = 0;
    for (unsigned i = 0; i < AT_ONCE; i++) {
      messages[i].msg_hdr.msg_iov = &pair->frames[pair->next + i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    int done = sendmmsg(pair->socket, messages, AT_ONCE, 0);
    if (done <= 0) fail("sendmmsg");
    sent += done;
    pair->next += done;
  }
  return (now(CLOCK_THREAD_CPUTIME_ID) - begin) * 1e9 / sent;
}

int main(int count, char **words) {
  static struct pair pairs[MOST_PAIRS];
  int many = (count - 2) / 2;
  if (many < 1 || many > MOST_PAIRS) return 2;
  for (int i = 0; i < many; i++) {
    pairs[i].socket = socket_on(words[2 + 2 * i]);
    read_frames(&pairs[i], words[3 + 2 * i]);
    if (pairs[i].count < AT_ONCE) return 2;
  }
  double end = now(CLOCK_MONOTONIC) + atof(words[1]);
  do {
    for (int i = 0; i < many; i++)
      printf("%d %.1f\n", i, slice(&pairs[i]));
  } while (now(CLOCK_MONOTONIC) < end);
  return 0;
}
