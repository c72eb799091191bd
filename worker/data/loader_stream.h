// Where the threads of a loader compute, if their batches are made on a GPU.
#pragma once

#include <rtrain/batch.h>

#include <c10/core/Event.h>

#include <memory>

namespace rtrain::data {

/// Each thread has a stream of its own. On the stream of the reader it would wait for all that the training
/// has queued there, and what it does while a CUDA graph is captured would become part of the graph.
class LoaderStream {
 public:
  /// Of a loader that the calling thread reads. Without a GPU no call of CUDA is made: it would start the
  /// driver.
  LoaderStream();

  /// First in each thread: from here on it computes on its own stream, behind what the reader has queued so
  /// far.
  void begin_thread() const;

 private:
  std::shared_ptr<c10::Event> queued_;  ///< null: no GPU
};

/// In the thread that has made the batch: waits until it is made.
void finish(const Batch& batch);
/// In the thread that reads it: its memory is not to be given to the next batch before what that thread
/// queues is done with it. Waits while the GPU is Lead::kBatches batches behind.
void hand_over(const Batch& batch);

}  // namespace rtrain::data
