// The same training function from a program: TorchTrainer starts the workers, waits and gives the Result.
#include <rtrain/rtrain.h>

#include <iostream>

void train_func(const rtrain::Config& config);  // train.cpp
