// The ring of the last collectives, and the sample of the main thread's stack.
#include "worker/runtime/flight_recorder.h"

#include "tests/support/catch.h"
#include "tests/support/sanitized.h"
#include "worker/runtime/stack_sample.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
#include <thread>

namespace flight_recorder_test {

using namespace rtrain;
using namespace std::chrono_literals;
using runtime::FlightCall;
using runtime::FlightOperation;
using runtime::FlightRecorder;

namespace {

constexpr std::array<std::int64_t, 2> kShape{4, 8};

FlightCall all_reduce() {
  FlightCall call;
  call.operation = FlightOperation::kAllReduce;
  call.purpose = "all_reduce";
  call.dtype = "Float";
  call.shape = kShape;
  call.bytes = 128;
  call.detail = "sum";
  return call;
}

FlightCall message(FlightOperation operation, int peer) {
  FlightCall call = all_reduce();
  call.operation = operation;
  call.detail = "";
  call.peer = peer;
  return call;
}

proto::RankSnapshot read(const FlightRecorder& recorder, std::size_t at_most = 100) {
  proto::RankSnapshot snapshot;
  recorder.read(snapshot, at_most, FlightRecorder::Clock::now());
  return snapshot;
}

}  // namespace

TEST_CASE("flight recorder: an entry says what was called, and how far it is") {
  const auto recorder = std::make_unique<FlightRecorder>();
  const int group = recorder->add_group("0/1", "shard", {2, 5});
  const auto ticket = [&] {
    const std::string name = "layers.3";
    const runtime::FlightUnit unit(name);
    return recorder->begin(group, all_reduce());
  }();
  CHECK(recorder->signature(ticket) == "all_reduce(sum) of Float [4, 8] for layers.3");
  auto flight = read(*recorder).flights.at(0);
  CHECK(flight.group == "0/1");
  CHECK(flight.seq == 1);
  CHECK(flight.operation == "all_reduce");
  CHECK(flight.purpose.empty());
  CHECK(flight.unit == "layers.3");
  CHECK(flight.dtype == "Float");
  CHECK(flight.shape == std::vector<std::int64_t>{4, 8});
  CHECK(flight.bytes == 128);
  CHECK(flight.detail == "sum");
  CHECK(flight.state == "started");
  recorder->wait(ticket);
  CHECK(read(*recorder).flights.at(0).state == "waiting");
  recorder->finish(ticket);
  CHECK(read(*recorder).flights.at(0).state == "finished");
  recorder->failed(recorder->begin(group, all_reduce()));
  recorder->queued(recorder->begin(group, all_reduce()));
  const auto snapshot = read(*recorder);
  CHECK(snapshot.flights.at(1).state == "failed");
  CHECK(snapshot.flights.at(1).unit.empty());
  CHECK(snapshot.flights.at(2).state == "queued");
  REQUIRE(snapshot.groups.size() == 1);
  CHECK(snapshot.groups[0].name == "shard");
  CHECK(snapshot.groups[0].ranks == std::vector<int>{2, 5});
  CHECK(snapshot.groups[0].started == 3);
}

TEST_CASE("flight recorder: collectives are numbered by group, messages by peer and direction") {
  const auto recorder = std::make_unique<FlightRecorder>();
  const int job = recorder->add_group("0", "job", {0, 1, 2}),
            pair = recorder->add_group("0/0", "pair", {1, 2});
  (void)recorder->begin(job, all_reduce());
  (void)recorder->begin(pair, all_reduce());
  (void)recorder->begin(job, all_reduce());
  (void)recorder->begin(pair, message(FlightOperation::kSend, 1));
  (void)recorder->begin(pair, message(FlightOperation::kReceive, 1));
  (void)recorder->begin(pair, message(FlightOperation::kSend, 1));
  std::vector<std::int64_t> numbers;
  for (const auto& flight : read(*recorder).flights) numbers.push_back(flight.seq);
  CHECK(numbers == std::vector<std::int64_t>{1, 1, 2, 1, 1, 2});
  CHECK(read(*recorder).flights.at(3).peer == 2);  // of the job, not of the group
  CHECK_FALSE(read(*recorder).flights.at(0).peer.has_value());
}

TEST_CASE("flight recorder: messages that make up a collective are one entry, over when all of them are") {
  const auto recorder = std::make_unique<FlightRecorder>();
  const int group = recorder->add_group("0", "job", {0, 1, 2});
  CHECK(runtime::FlightParts::join(*recorder, group, 1) == 0);
  FlightRecorder::Ticket first = 0, second = 0;
  {
    FlightCall whole = all_reduce();
    whole.operation = FlightOperation::kAllGather;
    whole.purpose = "gather of parameters";
    whole.detail = "";
    const runtime::FlightParts parts(whole);
    CHECK(runtime::FlightParts::is_first());
    first = runtime::FlightParts::join(*recorder, group, 7);
    CHECK_FALSE(runtime::FlightParts::is_first());
    second = runtime::FlightParts::join(*recorder, group, 8);
    recorder->finish(first);  // before the last one has started
    CHECK(read(*recorder).flights.at(0).state == "started");
  }
  CHECK(first == second);
  REQUIRE(read(*recorder).flights.size() == 1);
  CHECK(read(*recorder).flights.at(0).operation == "all_gather");
  CHECK(read(*recorder).flights.at(0).purpose == "gather of parameters");
  CHECK(recorder->signature_in_order(7) == "gather of parameters: all_gather of Float [4, 8]");
  CHECK(recorder->signature_in_order(8).empty());
  recorder->wait(second);
  CHECK(read(*recorder).flights.at(0).state == "waiting");
  recorder->finish(second);
  CHECK(read(*recorder).flights.at(0).state == "finished");
}

TEST_CASE("flight recorder: the ring forgets the oldest, and a stale ticket touches nobody else's entry") {
  const auto recorder = std::make_unique<FlightRecorder>();
  const int group = recorder->add_group("0", "job", {0, 1});
  const auto old = recorder->begin(group, all_reduce());
  for (std::size_t i = 0; i < FlightRecorder::kKept; ++i)
    recorder->finish(recorder->begin(group, all_reduce()));
  recorder->failed(old);
  CHECK(recorder->signature(old).empty());
  const auto all = read(*recorder, 1000);
  CHECK(all.flights.size() == FlightRecorder::kKept);
  CHECK(std::ranges::all_of(all.flights, [](const auto& flight) { return flight.state == "finished"; }));
  CHECK(all.flights.front().seq == 2);
  // A few are told, and what is under way however old it is.
  const auto waits = recorder->begin(group, all_reduce());
  recorder->wait(waits);
  for (int i = 0; i < 9; ++i) recorder->finish(recorder->begin(group, all_reduce()));
  const auto few = read(*recorder, 3);
  REQUIRE(few.flights.size() == 4);
  CHECK(few.flights.front().state == "waiting");
}

TEST_CASE("flight place: what a thread waits for outside of any collective is told") {
  proto::RankSnapshot snapshot;
  runtime::FlightPlace::read(snapshot, FlightRecorder::Clock::now());
  CHECK(snapshot.place.empty());
  {
    const runtime::FlightPlace place("the next batch");
    runtime::FlightPlace::read(snapshot, FlightRecorder::Clock::now() + 2s);
  }
  CHECK(snapshot.place == "the next batch");
  CHECK(snapshot.place_s >= 2);
  proto::RankSnapshot after;
  runtime::FlightPlace::read(after, FlightRecorder::Clock::now());
  CHECK(after.place.empty());
}

TEST_CASE("stack sample: the main thread is seen where it waits, from another thread") {
  runtime::install_stack_sampler();
  runtime::StackSample sample;
  std::thread([&] { sample = runtime::sample_main_thread(10s); }).join();
  CHECK(sample.error.empty());
  REQUIRE(sample.frames.size() > 3);
  const auto words = runtime::stack_words(sample.frames);
  REQUIRE(words.size() == sample.frames.size());
  CHECK(std::ranges::any_of(words,
                            [](const std::string& line) { return line.find("main") != std::string::npos; }));
  // The thread sanitizer hands a signal over when the call that waits has come back.
  CHECK((test::kThreadSanitizer || std::ranges::any_of(words, [](const std::string& line) {
           return line.find("thread::join") != std::string::npos;
         })));
}

TEST_CASE("stack sample: no signal is sent while an earlier one has not been taken") {
  runtime::install_stack_sampler();
  sigset_t sampling;
  sigemptyset(&sampling);
  sigaddset(&sampling, SIGRTMAX - 6);
  pthread_sigmask(SIG_BLOCK, &sampling, nullptr);
  runtime::StackSample blocked, again, after;
  std::thread([&] {
    blocked = runtime::sample_main_thread(20ms);
    again = runtime::sample_main_thread(20ms);
  }).join();
  pthread_sigmask(SIG_UNBLOCK, &sampling, nullptr);  // takes the one that is late
  std::thread([&] { after = runtime::sample_main_thread(10s); }).join();
  CHECK(blocked.error.starts_with("the main thread did not take a signal"));
  CHECK(again.error == blocked.error);
  CHECK(after.error.empty());
  CHECK(after.frames.size() > 3);
}

}  // namespace flight_recorder_test
