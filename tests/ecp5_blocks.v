// Models of ECP5's block RAM and DSP block, which Yosys has none of: what flows/synth.tcl makes of hdl/memory.py and
// hdl/multiplier.py. From Lattice's TN-02204 (memory) and TN-02205 (DSP); other uses stop the simulation.

module DP16KD (
    input ADA0, ADA1, ADA2, ADA3, ADA4, ADA5, ADA6, ADA7, ADA8, ADA9, ADA10, ADA11, ADA12, ADA13,
    input ADB0, ADB1, ADB2, ADB3, ADB4, ADB5, ADB6, ADB7, ADB8, ADB9, ADB10, ADB11, ADB12, ADB13,
    input DIA0, DIA1, DIA2, DIA3, DIA4, DIA5, DIA6, DIA7, DIA8, DIA9, DIA10, DIA11, DIA12, DIA13, DIA14, DIA15, DIA16, DIA17,
    input DIB0, DIB1, DIB2, DIB3, DIB4, DIB5, DIB6, DIB7, DIB8, DIB9, DIB10, DIB11, DIB12, DIB13, DIB14, DIB15, DIB16, DIB17,
    input CLKA, CEA, OCEA, WEA, RSTA, CSA0, CSA1, CSA2, CLKB, CEB, OCEB, WEB, RSTB, CSB0, CSB1, CSB2,
    output DOA0, DOA1, DOA2, DOA3, DOA4, DOA5, DOA6, DOA7, DOA8, DOA9, DOA10, DOA11, DOA12, DOA13, DOA14, DOA15, DOA16, DOA17,
    output DOB0, DOB1, DOB2, DOB3, DOB4, DOB5, DOB6, DOB7, DOB8, DOB9, DOB10, DOB11, DOB12, DOB13, DOB14, DOB15, DOB16, DOB17
);
    parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18, REGMODE_A = "NOREG", REGMODE_B = "NOREG";
    parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC", CSDECODE_A = "0b000", CSDECODE_B = "0b000";
    parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL", GSR = "ENABLED", INIT_DATA = "STATIC", WID = 0;
    parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB";
    `define INITVAL(x) parameter [319:0] INITVAL_``x``0 = 0, INITVAL_``x``1 = 0, INITVAL_``x``2 = 0, INITVAL_``x``3 = 0, \
        INITVAL_``x``4 = 0, INITVAL_``x``5 = 0, INITVAL_``x``6 = 0, INITVAL_``x``7 = 0, INITVAL_``x``8 = 0, \
        INITVAL_``x``9 = 0, INITVAL_``x``A = 0, INITVAL_``x``B = 0, INITVAL_``x``C = 0, INITVAL_``x``D = 0, \
        INITVAL_``x``E = 0, INITVAL_``x``F = 0;
    `INITVAL(0)
    `INITVAL(1)
    `INITVAL(2)
    `INITVAL(3)

    wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire [13:0] adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [17:0] dia = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9,
                       DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
    wire [17:0] dib = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9,
                       DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};
    localparam PSEUDO_DUAL = DATA_WIDTH_A == 36;  // port A writes, port B reads; bits 0 to 17 through the pins of A

    reg [8:0] memory [0:2047];
    reg [17:0] latch_a = 0, latch_b = 0, register_a = 0, register_b = 0;
    wire [17:0] doa = REGMODE_A == "OUTREG" ? register_a : latch_a;
    wire [17:0] dob = REGMODE_B == "OUTREG" ? register_b : latch_b;
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9,
            DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = doa;
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9,
            DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0} = dob;

    integer i;
    initial begin
        for (i = 0; i < 2048; i = i + 1) memory[i] = 0;
        if (!(DATA_WIDTH_A == 36 && DATA_WIDTH_B == 36 || DATA_WIDTH_A == 18 && DATA_WIDTH_B == 18
                || DATA_WIDTH_A == 9 && DATA_WIDTH_B == 9))
            $fatal(1, "DP16KD: no model of the widths %0d and %0d", DATA_WIDTH_A, DATA_WIDTH_B);
    end
    always @(posedge CLKA) begin
        if (RSTA !== 0 || RSTB !== 0 || CSA0 || CSA1 || CSA2 || CSB0 || CSB1 || CSB2 || CLKB !== 1 || PSEUDO_DUAL && WEB)
            $fatal(1, "DP16KD: used in a way that has no model");
    end

    // Reads, before what the same edge writes.
    always @(posedge CLKA) if (CEA && !PSEUDO_DUAL) begin
        latch_a <= WEA && WRITEMODE_A == "NORMAL" ? latch_a : {memory[{ada[13:4], 1'b1}], memory[{ada[13:4], 1'b0}]};
        if (DATA_WIDTH_A == 9) latch_a[8:0] <= memory[ada[13:3]];
    end
    wire [10:0] word = PSEUDO_DUAL ? {adb[13:5], 2'd0} : {adb[13:4], 1'b0};
    wire collision = CEA && WEA && (PSEUDO_DUAL ? ada[13:5] == adb[13:5] : DATA_WIDTH_B == 18 ? ada[13:4] == adb[13:4]
                                                                                              : ada[13:3] == adb[13:3]);
    always @(posedge CLKB) if (CEB) begin
        if (collision && (PSEUDO_DUAL ? |ada[3:0] : DATA_WIDTH_A != 18 || |ada[1:0])) begin
            latch_b <= 18'bx;
            if (PSEUDO_DUAL) latch_a <= 18'bx;
        end else if (PSEUDO_DUAL) begin
            latch_a <= {memory[word + 1], memory[word]};
            latch_b <= {memory[word + 3], memory[word + 2]};
        end else if (DATA_WIDTH_B == 18) latch_b <= {memory[word + 1], memory[word]};
        else latch_b[8:0] <= memory[adb[13:3]];
    end
    always @(posedge CLKA) if (OCEA) register_a <= latch_a;
    always @(posedge CLKB) if (OCEB) register_b <= latch_b;

    // Writes; the lowest address bits choose bytes where words have several.
    always @(posedge CLKA) if (CEA && WEA) begin
        if (PSEUDO_DUAL) begin
            if (ada[0]) memory[{ada[13:5], 2'd0}] <= dia[8:0];
            if (ada[1]) memory[{ada[13:5], 2'd1}] <= dia[17:9];
            if (ada[2]) memory[{ada[13:5], 2'd2}] <= dib[8:0];
            if (ada[3]) memory[{ada[13:5], 2'd3}] <= dib[17:9];
        end else if (DATA_WIDTH_A == 18) begin
            if (ada[0]) memory[{ada[13:4], 1'b0}] <= dia[8:0];
            if (ada[1]) memory[{ada[13:4], 1'b1}] <= dia[17:9];
        end else memory[ada[13:3]] <= dia[8:0];
    end
    always @(posedge CLKB) if (CEB && WEB) $fatal(1, "DP16KD: no model of writes through port B");
endmodule

module MULT18X18D (
    input A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16, A17,
    input B0, B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B13, B14, B15, B16, B17,
    input C0, C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13, C14, C15, C16, C17,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CE0, RST0,
    output P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11, P12, P13, P14, P15, P16, P17, P18, P19, P20, P21, P22, P23,
    output P24, P25, P26, P27, P28, P29, P30, P31, P32, P33, P34, P35
);
    parameter REG_INPUTA_CLK = "NONE", REG_INPUTB_CLK = "NONE", REG_OUTPUT_CLK = "NONE", REG_PIPELINE_CLK = "NONE";

    wire [17:0] a = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire [17:0] b = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    reg [17:0] registered_a = 0, registered_b = 0;
    reg [35:0] registered_p = 0;
    wire [17:0] first = REG_INPUTA_CLK == "CLK0" ? registered_a : a;
    wire [17:0] second = REG_INPUTB_CLK == "CLK0" ? registered_b : b;
    wire signed [36:0] wide_first = {{19{SIGNEDA & first[17]}}, first};
    wire signed [36:0] wide_second = {{19{SIGNEDB & second[17]}}, second};
    wire [36:0] product = wide_first * wide_second;
    wire [35:0] p = REG_OUTPUT_CLK == "CLK0" ? registered_p : product[35:0];
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
            P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = p;

    always @(posedge CLK0) begin
        if (CE0 !== 1 || RST0 !== 0 || REG_PIPELINE_CLK != "NONE") $fatal(1, "MULT18X18D: used in a way that has no model");
        registered_a <= a;
        registered_b <= b;
        registered_p <= product[35:0];
    end
endmodule
