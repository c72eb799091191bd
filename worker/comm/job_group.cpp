#include "worker/comm/job_group.h"

#include "worker/comm/job_store.h"
#include "worker/runtime/roll_call.h"

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <thread>

namespace rtrain::comm {
namespace {

using std::chrono::milliseconds;

std::string done_key(int rank) { return "done/" + std::to_string(rank); }

}  // namespace

JobGroup::JobGroup(const JobGroupOptions& options, runtime::Pulse& pulse)
    : pulse_(pulse),
      rank_(options.rank),
      world_size_(options.world_size),
      on_gpu_(options.device.is_cuda()),
      communicator_(Communicator::alone()) {
  if (options.backend != "gloo" && options.backend != "nccl")
    throw std::invalid_argument("backend \"" + options.backend + "\": expected gloo or nccl");
  if (world_size_ == 1 && !options.alone_too) return;
  try {
    connect(options);
  } catch (const std::exception& error) {
    throw std::runtime_error("rank " + std::to_string(rank_) + " of " + std::to_string(world_size_) +
                             " could not join the process group (" + options.backend + ", " +
                             options.master_addr + ":" + std::to_string(options.master_port) +
                             "): " + cause_of(error));
  }
}

JobGroup::~JobGroup() {
  if (!joined_) return;
  // Never destroyed: see the header.
  (void)new std::shared_ptr<C10dCommunicator>(std::move(joined_));
}

void JobGroup::connect(const JobGroupOptions& options) {
  tcp_store_ = open_store(rank_, options.master_addr, options.master_port, options.init_timeout);
  store_ = runtime_store(tcp_store_);
  joined_ = std::make_shared<C10dCommunicator>(GroupOptions{.name = "job",
                                                            .rank = rank_,
                                                            .world_size = world_size_,
                                                            .nccl = options.backend == "nccl",
                                                            .device = options.device,
                                                            .node_address = options.node_address,
                                                            .timeout = options.timeout,
                                                            .init_timeout = options.init_timeout},
                                               tcp_store_, 0, pulse_, store_.get());
  communicator_ = joined_;
  stall_publisher_ = std::make_unique<StallPublisher>(
      pulse_, rank_, world_size_, [host = options.master_addr, port = options.master_port] {
        return connect_store(host, port, milliseconds(5000));
      });
}

/// No limit of its own: a rank that still works may take as long as it likes; one that dies ends the attempt,
/// and one that waits for this rank waits in vain: it gets the error of a closed connection.
/// @return false: such a one was seen.
bool JobGroup::wait_for_others() {
  const auto entered = pulse_.read().collective_seq;
  runtime::RollCall roll_call(*store_, rank_, world_size_);
  roll_call.say({entered, runtime::Whereabouts::Kind::kReturned, ""});
  if (rank_ != 0) {
    store_->set(done_key(rank_), "");
    return true;
  }
  for (int rank = 1; rank < world_size_; ++rank)
    for (auto pause = milliseconds(1); !store_->get(done_key(rank));
         pause = std::min(pause * 2, milliseconds(50))) {
      std::this_thread::sleep_for(pause);
      if (pause == milliseconds(50) && roll_call.is_missed(entered)) return false;
    }
  return true;
}

void JobGroup::leave() noexcept {
  if (!joined_) return;
  stall_publisher_.reset();
  try {
    if (!wait_for_others() && on_gpu_) {
      // NCCL's shutdown waits for all of the communicator's ranks, and one of them waits for this one. The
      // end of this process ends it, with its connections.
      std::fprintf(stderr,
                   "rtrain: warning: another rank has made collectives that this rank has not; not "
                   "waiting for it\n");
      return;
    }
    joined_->shutdown();
    communicator_ = Communicator::alone();
    joined_.reset();
  } catch (const std::exception&) {
    // The others went first, and the store with them: there is nothing left to end.
  }
}

}  // namespace rtrain::comm
