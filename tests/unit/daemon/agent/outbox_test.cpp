#include "daemon/agent/outbox.h"

#include "tests/support/catch.h"

using namespace rtrain;
using namespace rtrain::agent;
using namespace std::chrono_literals;

namespace {

const proto::RankKey kKey{JobId(7), Attempt(2), 1};
const Outbox::Time kStart{};

proto::RankReport report(std::int64_t seq, bool checkpoint = false) {
  proto::RankReport message;
  message.key = kKey;
  message.seq = seq;
  if (checkpoint) message.checkpoint = proto::CheckpointRecord{"/r/checkpoint_000000", 0, {}};
  return message;
}

/// What a connection that takes everything is sent now: the reports' numbers, 0 for anything else.
std::vector<std::int64_t> send_all(Outbox& outbox) {
  std::vector<std::int64_t> seqs;
  while (const auto* frame = outbox.next()) {
    const auto message = proto::decode(*frame);
    REQUIRE(message.has_value());
    const auto* sent = std::get_if<proto::RankReport>(&*message);
    seqs.push_back(sent == nullptr ? 0 : sent->seq);
    outbox.sent();
  }
  return seqs;
}

using Seqs = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("outbox: everything is sent once, in order") {
  Outbox outbox;
  CHECK(outbox.next() == nullptr);
  for (int seq = 1; seq <= 3; ++seq) CHECK(outbox.push(report(seq)) == 0);
  CHECK(send_all(outbox) == Seqs{1, 2, 3});
  outbox.push(report(4));
  CHECK(send_all(outbox) == Seqs{4});
}

TEST_CASE("outbox: what no answered heartbeat followed is sent again on the next connection") {
  Outbox outbox;
  for (int seq = 1; seq <= 2; ++seq) outbox.push(report(seq));
  send_all(outbox);
  outbox.heartbeat_sent(kStart);
  outbox.push(report(3));
  send_all(outbox);
  outbox.heartbeat_sent(kStart + 1s);
  CHECK(outbox.heartbeat_answered() == kStart);
  outbox.push(report(4));
  outbox.disconnected();
  CHECK(send_all(outbox) == Seqs{3, 4});
  CHECK_FALSE(outbox.heartbeat_answered());  // that was the other connection's
  outbox.heartbeat_sent(kStart + 2s);
  CHECK(outbox.heartbeat_answered() == kStart + 2s);
  CHECK(outbox.bytes() == 0);
  outbox.disconnected();
  CHECK(outbox.next() == nullptr);
}

TEST_CASE("outbox: an answer confirms what was sent before its heartbeat, not what was only waiting") {
  Outbox outbox;
  for (int seq = 1; seq <= 3; ++seq) outbox.push(report(seq));
  outbox.sent();
  outbox.heartbeat_sent(kStart);
  outbox.heartbeat_answered();
  CHECK(send_all(outbox) == Seqs{2, 3});
  outbox.disconnected();
  CHECK(send_all(outbox) == Seqs{2, 3});
}

TEST_CASE("outbox: an end that may not have arrived is known as such until it is confirmed") {
  Outbox outbox;
  outbox.push(proto::RankStarted{kKey, 5});
  outbox.push(proto::RankEnded{kKey, {0, {}, false}, {}, {}});
  CHECK(outbox.ends() == std::vector{kKey});
  send_all(outbox);
  CHECK(outbox.ends() == std::vector{kKey});
  outbox.heartbeat_sent(kStart);
  outbox.heartbeat_answered();
  CHECK(outbox.ends().empty());
}

TEST_CASE("outbox: above its bound the oldest plain reports go, never a checkpoint or an end") {
  Outbox one;
  one.push(report(1));
  Outbox outbox(5 * one.bytes());
  outbox.push(report(1, true));
  outbox.push(report(2));
  outbox.push(proto::RankEnded{kKey, {0, {}, false}, {}, {}});
  int dropped = 0;
  for (int seq = 3; seq < 100; ++seq) dropped += outbox.push(report(seq));
  CHECK(dropped > 90);
  CHECK(outbox.bytes() <= 5 * one.bytes());
  const auto left = send_all(outbox);
  REQUIRE(left.size() > 2);
  CHECK(left[0] == 1);
  CHECK(left[1] == 0);
  CHECK(left.back() == 99);
  // Dropping what was sent already does not disturb what follows.
  for (int seq = 100; seq < 200; ++seq) outbox.push(report(seq));
  CHECK(send_all(outbox).back() == 199);
  // What may not be dropped is kept above the bound.
  for (int seq = 200; seq < 300; ++seq) outbox.push(report(seq, true));
  CHECK(outbox.bytes() > 5 * one.bytes());
  CHECK(send_all(outbox) == [] { Seqs all; for (int seq = 200; seq < 300; ++seq) all.push_back(seq); return all; }());
}
