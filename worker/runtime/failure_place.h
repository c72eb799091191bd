// Where in the training an exception was thrown. Its type stays the user's: the place is kept beside it and
// told before its text.
#pragma once

#include <exception>
#include <string>

namespace rtrain::runtime {

/// Keeps the place of `failure`: "training_step, epoch 3, batch 17, rank 1". The first place of an exception
/// stays; a new exception takes the memory of the one before. @thread any
void set_failure_place(const std::exception_ptr& failure, const std::string& place);
/// "training_step, epoch 3, batch 17, rank 1: " for the exception that was given there; "" for any other.
/// @thread any
[[nodiscard]] std::string failure_prefix(const std::exception_ptr& failure);
/// what(); a string that was thrown; else the name of the type. Never throws the exception on.
[[nodiscard]] std::string failure_text(const std::exception_ptr& failure);

}  // namespace rtrain::runtime
