#include "worker/sharding/exchange.h"

#include "worker/runtime/flight_recorder.h"

#include <torch/csrc/autograd/grad_mode.h>

#include <utility>

namespace rtrain::sharding {
namespace {

/// A message of one round must not be taken for that of another one: 6 bits of the round, 23 of the buffer
/// and one for the kind are what Gloo's tags hold.
enum class Kind : int { kGather = 0, kReduce = 1 };
int tag_of(Kind kind, int number, std::int64_t round) {
  constexpr int kRounds = 64, kNumbers = 1 << 23;
  return (static_cast<int>(round % kRounds) * kNumbers + number % kNumbers) * 2 + static_cast<int>(kind);
}

}  // namespace

void Transfer::wait() {
  while (!works_.empty()) {
    works_.back().wait();
    works_.pop_back();
  }
}

torch::Tensor Exchange::part(const torch::Tensor& whole, int rank) const {
  const auto size = whole.numel() / ranks_.world_size();
  return whole.narrow(0, rank * size, size);
}

Transfer Exchange::gather(const torch::Tensor& whole, int number, std::int64_t round) {
  Transfer transfer;
  const int world = ranks_.world_size(), rank = ranks_.rank();
  if (world == 1) return transfer;
  const auto own = part(whole, rank);
  if (!uses_messages(whole)) {
    transfer.add(ranks_.start_all_gather(whole, own, "gather of parameters"));
    return transfer;
  }
  const runtime::FlightParts parts(
      runtime::flight_of(runtime::FlightOperation::kAllGather, "gather of parameters", own));
  const auto tag = tag_of(Kind::kGather, number, round);
  for (int k = 1; k < world; ++k) {
    const int from = (rank + world - k) % world;
    transfer.add(ranks_.start_recv(part(whole, from), from, tag, "gather of parameters"));
  }
  for (int k = 1; k < world; ++k)
    transfer.add(ranks_.start_send(own, (rank + k) % world, tag, "gather of parameters"));
  return transfer;
}

Exchange::Reduction Exchange::start_reduction(torch::Tensor whole, int number, std::int64_t round) {
  Reduction reduction;
  const int world = ranks_.world_size(), rank = ranks_.rank();
  const auto size = whole.numel() / world;
  reduction.whole = std::move(whole);
  if (world == 1) return reduction;
  if (!uses_messages(reduction.whole)) {
    reduction.received = buffers_.tensor(size, reduction.whole.scalar_type());
    reduction.arriving.add(ranks_.start_reduce_scatter(reduction.received, reduction.whole,
                                                       Communicator::Op::kSum, "reduction of gradients"));
    return reduction;
  }
  reduction.by_messages = true;
  reduction.received = buffers_.tensor(size * (world - 1), reduction.whole.scalar_type());
  auto flight =
      runtime::flight_of(runtime::FlightOperation::kReduceScatter, "reduction of gradients", reduction.whole);
  flight.detail = "sum";
  const runtime::FlightParts parts(flight);
  const auto tag = tag_of(Kind::kReduce, number, round);
  for (int k = 1; k < world; ++k) {
    const int from = (rank + world - k) % world;
    // In the order of the ranks, for finish().
    const int place = from < rank ? from : from - 1;
    reduction.arriving.add(ranks_.start_recv(reduction.received.narrow(0, place * size, size), from, tag,
                                             "reduction of gradients"));
  }
  for (int k = 1; k < world; ++k) {
    const int to = (rank + k) % world;
    reduction.leaving.add(ranks_.start_send(part(reduction.whole, to), to, tag, "reduction of gradients"));
  }
  return reduction;
}

torch::Tensor Exchange::finish(Reduction& reduction) {
  const torch::NoGradGuard no_grad;
  const int world = ranks_.world_size(), rank = ranks_.rank();
  reduction.arriving.wait();
  torch::Tensor sum;
  if (world == 1) {
    sum = reduction.whole.clone();
  } else if (!reduction.by_messages) {
    sum = reduction.received.clone();
  } else {
    // In the order of the ranks, so that the bits do not depend on which rank holds the part.
    const auto own = part(reduction.whole, rank);
    const auto size = own.numel();
    const auto of = [&](int from) {
      return from == rank ? own : reduction.received.narrow(0, (from < rank ? from : from - 1) * size, size);
    };
    sum = of(0) + of(1);
    for (int from = 2; from < world; ++from) sum.add_(of(from));
  }
  reduction.leaving.wait();
  buffers_.recycle(reduction.received);
  buffers_.recycle(reduction.whole);
  return sum;
}

}  // namespace rtrain::sharding
