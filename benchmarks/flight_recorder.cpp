// What it costs to record a collective: a start, a wait and an end, in nanoseconds. One JSON line on stdout.
#include "worker/runtime/flight_recorder.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <iostream>
#include <memory>
#include <thread>
#include <vector>

using namespace rtrain;
using runtime::FlightRecorder;

namespace {

constexpr int kCalls = 200'000, kRounds = 15;
constexpr std::array<std::int64_t, 2> kShape{4096, 1024};

double nanoseconds_a_call(FlightRecorder& recorder, int group) {
  runtime::FlightCall call;
  call.operation = runtime::FlightOperation::kAllGather;
  call.purpose = "gather of parameters";
  call.dtype = "Float";
  call.shape = kShape;
  call.bytes = 16 << 20;
  const runtime::FlightUnit unit("model.layers.3.attention");
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < kCalls; ++i) {
    const auto ticket = recorder.begin(group, call);
    recorder.wait(ticket);
    recorder.finish(ticket);
  }
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begun;
  return took.count() / kCalls;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

int main() {
  const auto recorder = std::make_unique<FlightRecorder>();
  const int group = recorder->add_group("0", "job", {0, 1, 2, 3});
  std::vector<double> alone, clocks;
  for (int round = 0; round < kRounds; ++round) alone.push_back(nanoseconds_a_call(*recorder, group));
  // What two looks at the clock cost, which are part of it.
  for (int round = 0; round < kRounds; ++round) {
    const auto begun = std::chrono::steady_clock::now();
    std::int64_t sum = 0;
    for (int i = 0; i < 2 * kCalls; ++i)
      sum += std::chrono::steady_clock::now().time_since_epoch().count() & 1;
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begun;
    clocks.push_back((took.count() + static_cast<double>(sum % 2)) / kCalls);
  }
  std::cout << "{\"benchmark\": \"flight_recorder\", \"ns_a_collective\": " << median(alone)
            << ", \"fastest_ns\": " << *std::ranges::min_element(alone)
            << ", \"of_it_two_clock_reads_ns\": " << median(clocks)
            << ", \"bytes_of_ring\": " << sizeof(FlightRecorder) << "}\n";
}
