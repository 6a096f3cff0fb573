// The Tidelog client library: the one header to start from. C++20.
#pragma once

#include "tidelog/admin.h"
#include "tidelog/consumer.h"
#include "tidelog/error.h"
#include "tidelog/options.h"
#include "tidelog/producer.h"
#include "tidelog/record.h"
#include "tidelog/version.h"
