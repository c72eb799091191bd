#include "worker/runtime/outbox.h"

#include "tests/support/catch.h"

using namespace rtrain;

namespace {

const proto::RankKey kKey{JobId(1), Attempt(1), 0};

proto::RankReport report(std::int64_t seq, bool with_checkpoint = false) {
  proto::RankReport r{.key = kKey, .seq = seq, .metrics = {{"text", std::string(1000, 'x')}}};
  if (with_checkpoint) r.checkpoint = proto::CheckpointRecord{"/run/checkpoint_000000", 0, proto::Json::object()};
  return r;
}

/// Takes all out: "r3" a report, "p7" progress at step 7, else the message's name.
std::vector<std::string> drain(runtime::Outbox& outbox) {
  std::vector<std::string> names;
  while (const auto* frame = outbox.front()) {
    const auto message = proto::decode(*frame).value();
    if (const auto* r = std::get_if<proto::RankReport>(&message)) names.push_back("r" + std::to_string(r->seq));
    else if (const auto* p = std::get_if<proto::RankProgress>(&message)) names.push_back("p" + std::to_string(p->step));
    else names.emplace_back(proto::message_name(message));
    outbox.pop();
  }
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("outbox: in order, and of progress only the newest", "[unit][runtime]") {
  runtime::Outbox outbox(1u << 20);
  CHECK(outbox.empty());
  outbox.push(proto::RankRunning{kKey});
  outbox.push(proto::RankProgress{.key = kKey, .step = 6});
  outbox.push(report(1));
  outbox.push(proto::RankProgress{.key = kKey, .step = 7});
  CHECK(drain(outbox) == Names{"rank_running", "r1", "p7"});
  CHECK(outbox.empty());
  CHECK(outbox.bytes() == 0);
}

TEST_CASE("outbox: over its bound the oldest reports without a checkpoint go", "[unit][runtime]") {
  runtime::Outbox outbox(4000);
  outbox.push(report(1, true));
  for (int seq = 2; seq <= 6; ++seq) outbox.push(report(seq));
  CHECK(outbox.dropped() > 0);
  CHECK(outbox.bytes() <= 4000);
  const auto left = drain(outbox);
  CHECK(left.front() == "r1");
  CHECK(left.back() == "r6");
}

TEST_CASE("outbox: reports with checkpoints stay whatever the bound", "[unit][runtime]") {
  runtime::Outbox outbox(2000);
  for (int seq = 1; seq <= 5; ++seq) outbox.push(report(seq, true));
  CHECK(drain(outbox) == Names{"r1", "r2", "r3", "r4", "r5"});
}

TEST_CASE("outbox: a frame handed out stays until it was written", "[unit][runtime]") {
  runtime::Outbox outbox(2500);
  outbox.push(report(1));
  REQUIRE(outbox.front() != nullptr);
  for (int seq = 2; seq <= 4; ++seq) outbox.push(report(seq));
  CHECK(drain(outbox).front() == "r1");
}
