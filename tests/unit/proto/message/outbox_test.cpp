#include "proto/message/outbox.h"

#include "tests/support/catch.h"

namespace outbox_test {

using namespace rtrain;
using rtrain::proto::Outbox;

namespace {

const proto::RankKey kKey{JobId(7), Attempt(2), 1};

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
  for (int seq = 1; seq <= 3; ++seq) CHECK(outbox.push(report(seq)) == seq);
  CHECK(send_all(outbox) == Seqs{1, 2, 3});
  outbox.push(report(4));
  CHECK(send_all(outbox) == Seqs{4});
}

TEST_CASE("outbox: what the head has not taken is sent again on the next connection") {
  Outbox outbox;
  for (int seq = 1; seq <= 3; ++seq) outbox.push(report(seq));
  CHECK(send_all(outbox) == Seqs{1, 2, 3});
  outbox.taken(2);
  CHECK(outbox.settled() == 2);
  outbox.push(report(4));
  outbox.disconnected();
  CHECK(send_all(outbox) == Seqs{3, 4});
  outbox.taken(1);  // counted anew for each connection
  CHECK(outbox.settled() == 3);
  outbox.taken(2);
  CHECK(outbox.settled() == 4);
  CHECK(outbox.bytes() == 0);
  outbox.disconnected();
  CHECK(outbox.next() == nullptr);
}

TEST_CASE(
    "outbox: a confirmation is for what was sent, not for what only waits, and none for more than that "
    "counts") {
  Outbox outbox;
  for (int seq = 1; seq <= 3; ++seq) outbox.push(report(seq));
  outbox.sent();
  outbox.taken(100);
  CHECK(outbox.settled() == 1);
  CHECK(send_all(outbox) == Seqs{2, 3});
  outbox.taken(1);
  CHECK(outbox.settled() == 1);
  outbox.taken(2);
  CHECK(outbox.settled() == 2);
}

TEST_CASE("outbox: an end that may not have arrived is known as such until it is confirmed") {
  Outbox outbox;
  outbox.push(proto::RankStarted{kKey, 5});
  outbox.push(proto::RankEnded{kKey, {0, {}, false}, {}, {}});
  CHECK(outbox.ends() == std::vector{kKey});
  send_all(outbox);
  CHECK(outbox.ends() == std::vector{kKey});
  outbox.taken(2);
  CHECK(outbox.ends().empty());
}

TEST_CASE("outbox: above its bound the oldest plain reports go, never a checkpoint or an end") {
  Outbox one;
  one.push(report(1));
  Outbox outbox(5 * one.bytes());
  outbox.push(report(1, true));
  outbox.push(report(2));
  outbox.push(proto::RankEnded{kKey, {0, {}, false}, {}, {}});
  for (int seq = 3; seq < 100; ++seq) outbox.push(report(seq));
  CHECK(outbox.dropped() > 90);
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
  CHECK(send_all(outbox) == [] {
    Seqs all;
    for (int seq = 200; seq < 300; ++seq) all.push_back(seq);
    return all;
  }());
}

TEST_CASE("outbox: what was dropped on its way is still counted by the head") {
  Outbox one;
  one.push(report(1));
  Outbox outbox(3 * one.bytes());
  for (int seq = 1; seq <= 3; ++seq) outbox.push(report(seq));
  CHECK(send_all(outbox) == Seqs{1, 2, 3});
  outbox.push(report(4));  // 1 goes
  CHECK(outbox.dropped() == 1);
  CHECK(outbox.settled() == 1);
  outbox.taken(2);  // 1 and 2
  CHECK(outbox.settled() == 2);
  outbox.disconnected();
  CHECK(send_all(outbox) == Seqs{3, 4});
}

}  // namespace outbox_test
